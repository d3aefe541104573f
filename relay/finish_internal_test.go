package relay

import (
	"io"
	"strings"
	"sync/atomic"
	"testing"
)

// finishing is a Stream without data that notes how it is ended.
type finishing struct {
	io.Reader
	did string
}

func (f *finishing) Write(p []byte) (int, error) { return len(p), nil }
func (f *finishing) CloseWrite() error           { f.did += "CloseWrite "; return nil }
func (f *finishing) Close() error                { f.did += "Close "; return nil }
func (f *finishing) Abort()                      { f.did += "Abort " }
func (f *finishing) Finish() error               { f.did += "Finish "; return nil }

func TestOnlyTheSecondEndFinishesAStream(t *testing.T) {
	var (
		n    atomic.Int64
		half atomic.Bool
	)
	for _, want := range []string{"CloseWrite ", "Finish "} {
		dst, src := &finishing{Reader: strings.NewReader("")}, &finishing{Reader: strings.NewReader("data")}
		if err := pump(dst, src, &n, &half); err != nil || dst.did != want {
			t.Errorf("got %s, %v; want %s", dst.did, err, want)
		}
	}
}

func TestJoinClosesWhatHasFinished(t *testing.T) {
	a, b := &finishing{Reader: strings.NewReader("")}, &finishing{Reader: strings.NewReader("")}
	if err := Join(t.Context(), a, b, nil); err != nil {
		t.Fatal(err)
	}
	for _, f := range []*finishing{a, b} {
		if !strings.HasSuffix(f.did, " Close ") || strings.Contains(f.did, "Abort") {
			t.Errorf("got %s, want one end and then Close", f.did)
		}
	}
}
