package mux

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

func TestPipesHoldWhatARelayReadsAtOnce(t *testing.T) {
	s := open(t, attach(t, startMaster(t)), destination(t, echo)).(*stream)
	for name, end := range map[string]any{"in": s.in, "out": s.out} {
		size, err := unix.FcntlInt(end.(*os.File).Fd(), unix.F_GETPIPE_SZ, 0)
		if err != nil || size < pipeSize {
			t.Errorf("%s: got %d bytes, %v, want %d", name, size, err, pipeSize)
		}
	}
}
