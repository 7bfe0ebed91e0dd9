package dataset

import (
	"archive/tar"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// cifarRecords makes n records whose labels count up, with skip label bytes.
func cifarRecords(n, skip, classes int, seed uint32) []byte {
	var b []byte
	for i := range n {
		label := make([]byte, skip)
		label[skip-1] = byte(i % classes)
		b = append(append(b, label...), noise(cifarShape.Size(), seed+uint32(i))...)
	}
	return b
}

// cifar10Members are the files of a small CIFAR-10 set.
func cifar10Members() map[string][]byte {
	return map[string][]byte{
		"data_batch_1.bin": cifarRecords(12, 1, 10, 100),
		"data_batch_2.bin": cifarRecords(5, 1, 10, 200),
		"test_batch.bin":   cifarRecords(4, 1, 10, 300),
		"batches.meta.txt": []byte("airplane\nautomobile\nbird\ncat\ndeer\ndog\nfrog\nhorse\nship\ntruck\n\n"),
	}
}

func tarBytes(t testing.TB, members map[string][]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	names := make([]string, 0, len(members))
	for name := range members {
		names = append(names, name)
	}
	slices.Sort(names)
	slices.Reverse(names) // the official archives are not in order either
	for _, name := range names {
		if err := w.WriteHeader(&tar.Header{Name: "cifar-10-batches-bin/" + name, Mode: 0o644, Size: int64(len(members[name]))}); err != nil {
			t.Fatal(err)
		}
		w.Write(members[name])
	}
	w.Close()
	return b.Bytes()
}

func TestCIFAR10InEveryWrapping(t *testing.T) {
	members := cifar10Members()
	dir := t.TempDir()
	for name, b := range members {
		write(t, b, dir, "folder", name)
		write(t, b, dir, "parent", "cifar-10-batches-bin", name)
	}
	packed := tarBytes(t, members)
	paths := []string{
		filepath.Join(dir, "folder"), filepath.Join(dir, "parent"),
		write(t, packed, dir, "cifar.tar"), write(t, gzipped(packed), dir, "cifar-10-binary.tar.gz"),
	}
	var want []float32
	for _, path := range paths {
		s := mustOpen(t, path, Options{Split: "all"})
		if s.Kind() != CIFAR10 || s.Len() != 21 || !s.HasTest() || s.Shape() != cifarShape || s.Classes()[9] != "truck" {
			t.Fatalf("%s: %s, %d rows, classes %v", path, s.Kind(), s.Len(), s.Classes())
		}
		if s.ID(13) != "train/13" || s.ID(18) != "test/1" || s.Label(13) != 1 || s.Label(11) != 1 {
			t.Errorf("%s: rows 13 and 18 are %s and %s", path, s.ID(13), s.ID(18))
		}
		got := readRow(t, s, 13)
		if want == nil {
			want = got
			planes := noise(3072, 201)
			for i := range 1024 {
				for c := range 3 {
					if got[3*i+c] != float32(planes[c*1024+i])/255 {
						t.Fatalf("pixel %d channel %d is %v", i, c, got[3*i+c])
					}
				}
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: row 13 differs", path)
		}
		if one := mustOpen(t, path, Options{}); one.Len() != 17 {
			t.Errorf("%s: %d training rows", path, one.Len())
		}
		if one := mustOpen(t, path, Options{Split: "test"}); one.Len() != 4 || one.ID(0) != "test/0" {
			t.Errorf("%s: %d test rows", path, one.Len())
		}
	}
	s := mustOpen(t, filepath.Join(dir, "folder", "data_batch_2.bin"), Options{})
	if s.Len() != 5 || s.ID(4) != "4" {
		t.Errorf("single file: %d rows", s.Len())
	}
}

func TestCIFAR100(t *testing.T) {
	dir := t.TempDir()
	write(t, cifarRecords(3, 2, 100, 1), dir, "cifar-100-binary", "train.bin")
	write(t, cifarRecords(2, 2, 100, 2), dir, "cifar-100-binary", "test.bin")
	var names []string
	for i := range 100 {
		names = append(names, fmt.Sprint("fine", i))
	}
	write(t, []byte(strings.Join(names, "\n")), dir, "cifar-100-binary", "fine_label_names.txt")
	s := mustOpen(t, dir, Options{})
	if s.Kind() != CIFAR100 || s.Len() != 3 || s.Label(2) != 2 || s.Classes()[99] != "fine99" || !s.HasTest() {
		t.Errorf("%s, %d rows, label %d", s.Kind(), s.Len(), s.Label(2))
	}
	single := mustOpen(t, filepath.Join(dir, "cifar-100-binary", "train.bin"), Options{})
	if single.Kind() != CIFAR100 || single.Len() != 3 {
		t.Errorf("single file: %s, %d rows", single.Kind(), single.Len())
	}
}

func TestCIFARDamaged(t *testing.T) {
	dir := t.TempDir()
	whole := cifarRecords(2, 1, 10, 1)
	for _, n := range []int{0, 1, 2, 3072, 3074, 6145} {
		write(t, whole[:n], dir, "data_batch_1.bin")
		mustReject(t, dir, Options{}, "data_batch_1.bin", fmt.Sprint(n, " bytes"), "3073")
	}
	whole[3073] = 10
	write(t, whole, dir, "data_batch_1.bin")
	mustReject(t, dir, Options{}, "data_batch_1.bin", "row 1 has label 10")
	whole[3073] = 9
	write(t, whole, dir, "data_batch_1.bin")
	mustReject(t, dir, Options{Split: "test"}, "no test split")
	write(t, whole, dir, "data_batch_3.bin")
	mustReject(t, dir, Options{}, "data_batch_2.bin is missing")
	os.Rename(filepath.Join(dir, "data_batch_3.bin"), filepath.Join(dir, "train.bin"))
	mustReject(t, dir, Options{}, "both CIFAR-10 and CIFAR-100")
}

func TestCIFARArchiveDamaged(t *testing.T) {
	dir := t.TempDir()
	members := map[string][]byte{"data_batch_1.bin": cifarRecords(1, 1, 10, 1), "test_batch.bin": cifarRecords(1, 1, 10, 2)}
	plain := tarBytes(t, members)
	packed := gzipped(plain)
	path := filepath.Join(dir, "a.tar.gz")
	for n := 0; n < len(packed); n += 1 + len(packed)/199 {
		write(t, packed[:n], path)
		mustReject(t, path, Options{Split: "all"}, path)
	}
	path = filepath.Join(dir, "a.tar")
	for n := 0; n < len(plain)-1024; n += 37 { // the last two blocks are padding
		write(t, plain[:n], path)
		s, err := Open(t.Context(), path, Options{Split: "all"})
		if err == nil { // cut between two members: less rows, none of them wrong
			if s.HasTest() && n < 512+3584+512+3073 {
				t.Errorf("cut at %d of %d: both splits are there", n, len(plain))
			}
			s.Close()
		}
	}
	write(t, tarBytes(t, map[string][]byte{"data_batch_1.mat": []byte("x")}), path)
	mustReject(t, path, Options{}, "no CIFAR binary files", "Python or Matlab")
	write(t, append(tarBytes(t, members)[:512+3584], plain...), path)
	mustReject(t, path, Options{}, "holds test_batch.bin twice")
}
