"""Write the small NumPy files that internal/tensorfile is tested against.

Run from the repository root with any Python that has NumPy:

    python3 ref/npy_golden.py

Element k (in C order) of every array is k - 7 for signed integers, k for
unsigned ones, (k - 7) / 2 for floats and k % 3 == 0 for bool; golden_test.go
states the same rule.
"""

import os

import numpy as np

OUT = "internal/tensorfile/testdata"


def values(dtype, shape):
    dtype = np.dtype(dtype)
    k = np.arange(int(np.prod(shape))).reshape(shape)
    if dtype.kind == "b":
        return k % 3 == 0
    if dtype.kind == "u":
        return k.astype(dtype)
    if dtype.kind == "i":
        return (k - 7).astype(dtype)
    return ((k - 7) / 2).astype(dtype)


def write(name, array, version=(1, 0)):
    with open(os.path.join(OUT, name), "wb") as f:
        np.lib.format.write_array(f, array, version=version)


os.makedirs(OUT, exist_ok=True)
shape = (4, 2, 3)
for dtype in "|b1 |u1 |i1 <u2 >u2 <i2 >i2 <u4 >u4 <i4 >i4 <u8 >u8 <i8 >i8 <f2 >f2 <f4 >f4 <f8 >f8".split():
    suffix = {"<": "le", ">": "be", "|": ""}[dtype[0]]
    write(f"c_{dtype[1:]}{suffix}.npy", values(dtype, shape))
write("fortran_f8.npy", np.asfortranarray(values("<f8", shape)))
write("fortran_u1.npy", np.asfortranarray(values("|u1", (5, 2, 2, 3))))
write("v2_f4.npy", values("<f4", shape), (2, 0))
write("v3_f4.npy", values("<f4", shape), (3, 0))
write("labels_i8.npy", values("<i8", (11,)))
write("column_u1.npy", values("|u1", (11, 1)))
write("scalar_f4.npy", values("<f4", ()))
write("empty_f4.npy", values("<f4", (0, 3)))

# Refused, each with its own message.
with open(os.path.join(OUT, "refused_object.npy"), "wb") as f:
    np.lib.format.write_array(f, np.array([1, "two", None], dtype=object), allow_pickle=True)
write("refused_struct.npy", np.zeros(3, dtype=[("a", "<f4"), ("b", "<i4", (2,))]))
write("refused_text.npy", np.array(["ab", "c"]))
write("refused_complex.npy", np.zeros(3, dtype="<c8"))

arrays = {"x": values("<f4", (6, 4)), "y": values("<i8", (6,)), "img": values("|u1", (6, 2, 2))}
np.savez(os.path.join(OUT, "stored.npz"), **arrays)
np.savez_compressed(os.path.join(OUT, "deflated.npz"), **arrays)
