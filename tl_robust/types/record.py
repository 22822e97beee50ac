"""What a threat writes down of every sample: one class a threat, whose fields say their own axes and types.

A threat declares a subclass of :class:`Record`. Since every field carries its declaration, records are checked, stored,
shared and cut into parts without a list of field names elsewhere::

    @dataclass(frozen=True)
    class Noise(Record):
        AXIS = "sigma"
        sigma: Tensor = column("K", torch.float64)
        label: Tensor = column("N", torch.int64)
        noisy: Tensor = column("K N", torch.int64)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cache
from typing import Any, ClassVar, Self

import torch
from torch import Tensor


@dataclass(frozen=True)
class Column:
    """The declaration of one field of a record.

    Attributes:
        axes: A letter for each axis; the same letter is the same length in all fields of a record, N counts samples.
        dtype: What is stored.
        optional: Zeros stand for it where it was not measured.
    """

    axes: tuple[str, ...]
    dtype: torch.dtype
    optional: bool = False


def column(axes: str, dtype: torch.dtype, *, optional: bool = False) -> Any:
    """Declare a field of a record.

    Args:
        axes: Letters with spaces between them, such as ``K N``.
        dtype: What is stored.
        optional: Zeros stand for it where it is not given; such fields come last.
    """
    metadata = {"column": Column(tuple(axes.split()), dtype, optional)}
    return field(default_factory=lambda: torch.zeros(0), metadata=metadata) if optional else field(metadata=metadata)


@dataclass(frozen=True)
class Record:
    """What happened to every sample: classes or scores, never rates, so that later metrics work on earlier runs.

    Attributes:
        AXIS: Name of the field that a curve is drawn over, float64 ``[K]``; the word that tables show for it.
        sample_id: int64 ``[N]``, place of the sample in its split.
    """

    AXIS: ClassVar[str]

    sample_id: Tensor = column("N", torch.int64)

    def __post_init__(self) -> None:
        columns, tensors = self.columns(), self.tensors()
        lengths: dict[str, int] = {}
        for name in sorted(columns, key=lambda name: len(columns[name].axes)):  # a field of one axis fixes its length
            if not (columns[name].optional and tensors[name].numel() == 0):
                for letter, length in zip(columns[name].axes, tensors[name].shape, strict=False):
                    lengths.setdefault(letter, length)
        for name, declared in columns.items():
            expected = tuple(lengths.get(letter, 0) for letter in declared.axes)
            if declared.optional and tensors[name].numel() == 0:
                object.__setattr__(self, name, torch.zeros(expected, dtype=declared.dtype))
            elif tuple(tensors[name].shape) != expected:
                shape = tuple(tensors[name].shape)
                raise ValueError(f"{type(self).__name__}.{name} must have shape {expected}, got {shape}")

    @classmethod
    @cache
    def columns(cls) -> Mapping[str, Column]:
        """The declarations of all fields, in their order."""
        return {item.name: item.metadata["column"] for item in fields(cls)}

    def tensors(self) -> dict[str, Tensor]:
        """All fields by name, in the shapes that :func:`column` declares."""
        return {name: getattr(self, name) for name in self.columns()}

    @property
    def x(self) -> Tensor:
        """float64 ``[K]``, what curves are drawn over and what the column ``eps`` of a table holds."""
        values: Tensor = getattr(self, self.AXIS)
        return values

    def take(self, index: Tensor) -> Self:
        """The samples at ``index`` (int64 ``[M]``), in that order; for example those of one class."""
        parts = {
            name: tensor.index_select(self.columns()[name].axes.index("N"), index)
            for name, tensor in self.tensors().items()
            if "N" in self.columns()[name].axes
        }
        return replace(self, **parts)

    def beside(self, *others: Self) -> tuple[Self, ...]:
        """This record and others of the same samples and x.

        Raises:
            ValueError: They are of other samples or x.
        """
        for other in others:
            if not (torch.equal(self.sample_id, other.sample_id) and torch.equal(self.x, other.x)):
                raise ValueError(f"only records of the same samples and {self.AXIS} can be put together")
        return (self, *others)

    def chosen(self, records: Sequence[Self], place: Mapping[str, Tensor]) -> Self:
        """The record that has each value from one of several; ``place`` says which, int64 ``[K,N]`` for axes K, N."""
        values = {
            name: torch.stack([record.tensors()[name] for record in records]).gather(0, place[axes][None])[0]
            for name, axes in ((name, " ".join(declared.axes)) for name, declared in self.columns().items())
            if axes in place
        }
        return replace(self, **values)

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> Self:
        """The record whose fields these are, as they were read from a file.

        Raises:
            ValueError: A field is missing, unknown, or of another type or shape than declared.
        """
        for name, tensor in tensors.items():
            declared = cls.columns().get(name)
            if declared and declared.dtype != tensor.dtype:
                raise ValueError(f"{name} is {tensor.dtype}, expected {declared.dtype}")
        try:
            return cls(**tensors)
        except TypeError as error:
            raise ValueError(f"not the arrays of {cls.__name__} ({error})") from error
