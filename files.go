package nat

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

// files is every operation by which a run directory changes. Tests put an
// implementation under it that fails at a chosen operation.
type files interface {
	Mkdir(dir string) error
	Create(path string) (file, error)             // truncated
	Append(path string, size int64) (file, error) // created if missing, cut to size
	Rename(from, to string) error
	RemoveAll(path string) error
	SyncDir(dir string) error
}

// file is an open file of a run directory.
type file interface {
	io.Writer
	Sync() error
	Close() error
}

// disk is the real thing.
type disk struct{}

func (disk) Mkdir(dir string) error           { return os.MkdirAll(dir, 0o755) }
func (disk) Create(path string) (file, error) { return os.Create(path) }
func (disk) Rename(from, to string) error     { return os.Rename(from, to) }
func (disk) RemoveAll(path string) error      { return os.RemoveAll(path) }

func (disk) Append(path string, size int64) (file, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	if err = f.Truncate(size); err == nil {
		_, err = f.Seek(size, io.SeekStart)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// SyncDir makes renames and removals in dir durable. Windows has no such
// operation, and needs none: NTFS journals its directories.
func (disk) SyncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// countingWriter hashes and counts what goes through it.
type countingWriter struct {
	w   io.Writer
	sum hash.Hash
	n   int64
}

func (c *countingWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.sum.Write(p[:n])
	c.n += int64(n)
	return n, err
}

// writeFile writes a file durably, whole or not at all as far as errors can
// tell, and returns the hex SHA-256 of its content. Errors are of kind
// ErrResource and name the file and how far it came.
func writeFile(fsys files, path string, content func(io.Writer) error) (sum string, err error) {
	c := &countingWriter{sum: sha256.New()}
	defer func() {
		if err != nil {
			err = failf(ErrResource, "writing %s, after %d bytes: %w", path, c.n, reason(err))
		}
	}()
	f, err := fsys.Create(path)
	if err != nil {
		return "", err
	}
	c.w = f
	buf := bufio.NewWriterSize(c, 1<<16)
	if err = content(buf); err == nil {
		err = buf.Flush()
	}
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	return hex.EncodeToString(c.sum.Sum(nil)), err
}

// reason is err without the path that package os puts before it, and with what
// helps against a full disk.
func reason(err error) error {
	var named *fs.PathError
	if errors.As(err, &named) {
		err = named.Err
	}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: free space, then continue with --resume", err)
	}
	return err
}

// replaceFile is writeFile through a temporary name, so that path always
// holds either the old content or the new.
func replaceFile(fsys files, path string, content func(io.Writer) error) (string, error) {
	tmp := filepath.Join(filepath.Dir(path), tmpPrefix+filepath.Base(path))
	sum, err := writeFile(fsys, tmp, content)
	if err == nil {
		err = rename(fsys, tmp, path)
	}
	if err != nil {
		fsys.RemoveAll(tmp) // the error that matters is the first
		return "", err
	}
	return sum, nil
}

// rename moves within one directory and makes that durable.
func rename(fsys files, from, to string) error {
	err := fsys.Rename(from, to)
	if err == nil {
		err = fsys.SyncDir(filepath.Dir(to))
	}
	if err != nil {
		return failf(ErrResource, "putting %s in place: %w", to, err)
	}
	return nil
}

// tmpPrefix begins the names of files and directories that are not complete;
// a process that owns the run may remove them at any time.
const tmpPrefix = ".tmp-"

// removeTemporary clears what a killed process left half-written in dir.
func removeTemporary(fsys files, dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), tmpPrefix) {
			path := filepath.Join(dir, e.Name())
			if err := fsys.RemoveAll(path); err != nil {
				return failf(ErrResource, "removing %s, left by an interrupted save: %w", path, err)
			}
		}
	}
	return nil
}

// fileSum returns the hex SHA-256 of the file at path.
func fileSum(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
