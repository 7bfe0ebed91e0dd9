package tensorfile

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// MaxInflate bounds the memory one compressed member of a .npz may take. Zip
// can squeeze a thousand to one, so the size of the archive is no bound.
const MaxInflate = 1 << 30

// NPZ is an open .npz archive, a zip of .npy arrays.
type NPZ struct {
	path    string
	r       io.ReaderAt
	names   []string
	members map[string]*zip.File
	close   func() error
	limit   uint64
}

// OpenNPZ opens the archive at path. Close it after the last read of its
// arrays.
func OpenNPZ(path string) (*NPZ, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	z, err := NewNPZ(f, info.Size(), path)
	if err != nil {
		f.Close()
		return nil, err
	}
	z.close = f.Close
	return z, nil
}

// NewNPZ reads the directory of an archive of size bytes; name is used in
// messages.
func NewNPZ(r io.ReaderAt, size int64, name string) (*NPZ, error) {
	archive, err := zip.NewReader(r, size)
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) { // names are keys here, never paths
		return nil, fmt.Errorf("%s: %w: not a readable npz archive of %d bytes: %v", name, ErrFormat, size, err)
	}
	z := &NPZ{path: name, r: r, members: map[string]*zip.File{}, limit: MaxInflate}
	for _, f := range archive.File {
		key, ok := strings.CutSuffix(f.Name, ".npy")
		if !ok {
			continue
		}
		if z.members[key] != nil {
			return nil, fmt.Errorf("%s: %w: two members are called %q", name, ErrFormat, f.Name)
		}
		z.members[key] = f
		z.names = append(z.names, key)
	}
	return z, nil
}

// Close closes the file opened by OpenNPZ.
func (z *NPZ) Close() error {
	if z.close == nil {
		return nil
	}
	return z.close()
}

// Names returns the names of the arrays, without ".npy", in archive order.
func (z *NPZ) Names() []string { return z.names }

// Open returns the array called name. A stored member (np.savez) is read in
// place; a compressed one (np.savez_compressed) is inflated to memory, at most
// [MaxInflate] bytes, and its checksum verified.
func (z *NPZ) Open(name string) (*Array, error) {
	label := z.path + "[" + name + "]"
	f := z.members[name]
	if f == nil {
		return nil, fmt.Errorf("%s: %w: no such array; it holds %s", label, ErrFormat, strings.Join(z.names, ", "))
	}
	r, size, err := z.content(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", label, err)
	}
	return OpenNPY(r, size, label)
}

// content returns random access to a member's bytes.
func (z *NPZ) content(f *zip.File) (io.ReaderAt, int64, error) {
	if f.Flags&1 != 0 {
		return nil, 0, formatError("is encrypted; save it without a password")
	}
	if f.Method == zip.Deflate {
		b, err := z.inflate(f)
		return bytes.NewReader(b), int64(len(b)), err
	}
	off, err := f.DataOffset()
	switch {
	case err != nil:
		return nil, 0, formatError("has no valid local header: %v", err)
	case f.Method != zip.Store:
		return nil, 0, formatError("uses zip method %d; save it with np.savez", f.Method)
	case f.CompressedSize64 != f.UncompressedSize64 || f.UncompressedSize64 > 1<<62:
		return nil, 0, formatError("is stored, but its two sizes, %d and %d bytes, differ or are too large",
			f.CompressedSize64, f.UncompressedSize64)
	}
	size := int64(f.UncompressedSize64)
	return io.NewSectionReader(z.r, off, size), size, nil
}

// inflate decompresses a member. The buffer grows with the bytes that really
// come, so a false size in the directory costs nothing.
func (z *NPZ) inflate(f *zip.File) ([]byte, error) {
	if f.UncompressedSize64 > z.limit {
		return nil, formatError("is compressed and takes %d bytes of memory, more than the %d allowed; "+
			"save it with np.savez, which is read in place", f.UncompressedSize64, z.limit)
	}
	r, err := f.Open()
	if err != nil {
		return nil, formatError("cannot be opened: %v", err)
	}
	defer r.Close()
	var b bytes.Buffer
	n, err := b.ReadFrom(io.LimitReader(r, int64(f.UncompressedSize64)+1))
	if err != nil {
		return nil, formatError("cannot be decompressed, %d of %d bytes came out: %v", n, f.UncompressedSize64, err)
	}
	return b.Bytes(), nil
}
