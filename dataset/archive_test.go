package dataset

import (
	"archive/zip"
	"testing"
)

func TestArchivesThatHoldNothingOfUse(t *testing.T) {
	dir := t.TempDir()
	mustReject(t, write(t, npzBytes(t, zip.Store, nil), dir, "empty.npz"), Options{}, "empty.npz holds no arrays")
	rows := write(t, npyBytes(t, []int{4, 2}, ramp(8)), dir, "rows.npy")
	labels := write(t, npzBytes(t, zip.Store, map[string][]byte{"y": npyBytes(t, []int{4}, []int64{0, 1, 0, 1})}), dir, "y.npz")
	mustReject(t, rows, Options{Labels: labels}, "npz is not supported for labels; give .npy or csv")
}
