package dataset

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"io/fs"
	"strings"
)

// recognise finds out what path holds and opens it.
func recognise(ctx context.Context, path string, info fs.FileInfo, opt *Options) (*opened, error) {
	switch {
	case info.IsDir():
		return recogniseFolder(ctx, path, opt)
	case !info.Mode().IsRegular():
		return nil, reject("%s is not a file or folder (%v)", path, info.Mode().Type())
	}
	b, file, err := openBlob(path)
	if err != nil {
		return nil, err
	}
	head := make([]byte, min(512, b.size))
	n, err := b.ReadAt(head, 0)
	inside := gunzipped(b)
	file.Close()
	if n < len(head) {
		return nil, noEOF(err)
	}
	switch {
	case len(head) == 0:
		return nil, reject("%s is empty (0 bytes)", path)
	case bytes.HasPrefix(head, []byte("\x93NUMPY")), strings.HasSuffix(path, ".npy"):
		return openNPY(ctx, path, opt)
	case bytes.HasPrefix(head, []byte("PK")), strings.HasSuffix(path, ".npz"):
		return openNPZ(ctx, path, opt)
	case isIDX(head), isIDX(inside):
		return openIDXSingle(ctx, path, opt)
	}
	return nil, reject("%s: not a format that can be read: give a folder of images, an IDX file, a CIFAR binary file or archive, .npy or .npz", path)
}

// gunzipped returns the first bytes inside of a gzip file, if it is one.
func gunzipped(b *blob) []byte {
	z, err := gzip.NewReader(io.NewSectionReader(b, 0, b.size))
	if err != nil {
		return nil
	}
	head := make([]byte, 512)
	n, _ := io.ReadFull(z, head)
	return head[:n]
}

// recogniseFolder opens a folder: IDX files, or a tree of images.
func recogniseFolder(ctx context.Context, dir string, opt *Options) (*opened, error) {
	found, err := findIDX(dir)
	if err != nil {
		return nil, err
	}
	if len(found) > 0 {
		return openIDXFolder(ctx, dir, found, opt)
	}
	return nil, reject("%s: holds no IDX files", dir)
}
