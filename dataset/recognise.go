package dataset

import (
	"bytes"
	"context"
	"github.com/klauspost/compress/gzip"
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
	switch {
	case isTar(head), isTar(inside):
		return openCIFARArchive(ctx, path, isTar(inside), opt)
	case cifarName.MatchString(info.Name()):
		return openCIFARSingle(ctx, path, opt)
	case len(head) > 2 && head[0] == 0x1f && head[1] == 0x8b:
		return nil, reject("%s: a gzip file of %d bytes that holds neither an IDX file nor a CIFAR archive, or is damaged: download it again", path, info.Size())
	}
	if f := sniff(head); f != nil {
		return nil, reject("%s is a single %s image: give the folder it is in", path, f.name)
	}
	return nil, reject("%s: not a format that can be read: give a folder of images, an IDX file, a CIFAR binary file or archive, .npy or .npz", path)
}

// isTar reports whether the bytes begin a tar archive.
func isTar(head []byte) bool { return len(head) >= 262 && string(head[257:262]) == "ustar" }

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

// recogniseFolder opens a folder: IDX files, CIFAR files, or a tree of images.
func recogniseFolder(ctx context.Context, dir string, opt *Options) (*opened, error) {
	found, err := findIDX(dir)
	if err != nil {
		return nil, err
	}
	if len(found) > 0 {
		return openIDXFolder(ctx, dir, found, opt)
	}
	if sub := findCIFAR(dir); sub != "" {
		return openCIFARFolder(ctx, sub, opt)
	}
	return openFolder(ctx, dir, opt)
}
