"""The commands of ``tl-robust``: one file each, named as it is typed (``check_pair`` is ``check-pair``)."""
