package nat

import (
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"testing"
)

func TestReasonNamesNoPathAndHelpsAgainstAFullDisk(t *testing.T) {
	err := fmt.Errorf("tensor: %w", &fs.PathError{Op: "write", Path: "run/weights", Err: syscall.ENOSPC})
	if got := reason(err).Error(); strings.Contains(got, "run/weights") || !strings.HasSuffix(got, ": free space, then continue with --resume") {
		t.Errorf("full disk: %s", got)
	}
	if got := reason(fs.ErrPermission); got != fs.ErrPermission {
		t.Errorf("other errors stay as they are: %v", got)
	}
}
