package main

import (
	"context"
	"errors"
	"testing"

	"nat/assign"
)

// A solve is left alone as soon as the context ends, and its panics arrive.
func TestInterruptible(t *testing.T) {
	ctx, cancel := context.WithCancelCause(context.Background())
	cause, stuck := errors.New("interrupt"), make(chan struct{})
	defer close(stuck)
	_, err := interruptible(ctx, func() (*assign.LargeResult, error) {
		cancel(cause)
		<-stuck
		return nil, nil
	})
	if !errors.Is(err, cause) {
		t.Errorf("error %v", err)
	}
	defer func() {
		if p := recover(); p != "bug" {
			t.Errorf("panic %v", p)
		}
	}()
	interruptible(context.Background(), func() (*assign.LargeResult, error) { panic("bug") })
}
