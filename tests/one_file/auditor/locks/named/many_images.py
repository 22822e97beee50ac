"""Few images say little of any number."""

from tl_robust.auditor.locks.base import Answer, lock


@lock(place=60, unless=("better_than_chance",))
def many_images(subject):
    """Fails where an audit has fewer than fifty test images."""
    count = len(subject.images)
    return Answer(count >= 50, f"There are {count} test images: fifty or more are needed, give more of them.")
