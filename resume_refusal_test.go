package nat

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestResumeTellsDamageFromChangedOptions(t *testing.T) {
	images, _ := writeImages(t, 40, 4)
	opt := small(images, filepath.Join(t.TempDir(), "run"))
	opt.Epochs, opt.Batch = 1, 16
	mustTrain(t, opt)
	path := filepath.Join(opt.Out, runFile)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, bytes.Replace(b, []byte(`"epochs": 1,`), []byte(`"epochs": 7,`), 1), 0o666); err != nil {
		t.Fatal(err)
	}
	opt.Resume = true
	if _, err := Train(context.Background(), opt, nil); !errors.Is(err, ErrArtefact) || !strings.Contains(err.Error(), path+": its checksum does not match") {
		t.Errorf("a damaged %s: %v", runFile, err)
	}
}

func TestResumeWithOtherDataAndRecordedLabels(t *testing.T) {
	images, labels := writeImages(t, 40, 4)
	opt := small(images, filepath.Join(t.TempDir(), "run"))
	opt.Epochs, opt.Labels = 1, labels
	mustTrain(t, opt)
	opt.Data, _ = writeImages(t, 30, 4)
	opt.Resume = true
	if _, err := Train(context.Background(), opt, nil); !errors.Is(err, ErrArtefact) || !strings.Contains(err.Error(), "are not those of the run") {
		t.Errorf("other data, which the labels do not fit: %v", err)
	}
}

func TestResumeWithoutCheckpointsWarns(t *testing.T) {
	images, _ := writeImages(t, 40, 4)
	opt := small(images, filepath.Join(t.TempDir(), "run"))
	opt.Epochs = 1
	mustTrain(t, opt)
	if err := os.RemoveAll(filepath.Join(opt.Out, checkpointsDir)); err != nil {
		t.Fatal(err)
	}
	opt.Resume = true
	if s := mustTrain(t, opt); !s.Complete || !strings.Contains(strings.Join(s.Warnings, "\n"), "starts from the beginning") {
		t.Errorf("complete %v, warnings %q", s.Complete, s.Warnings)
	}
}
