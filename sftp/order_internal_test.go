package sftp

import (
	"bytes"
	"encoding/binary"
	"io"
	"testing"
	"time"
)

func frame(payload ...byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(payload))), payload...)
}

// piped is a client that says all at once, and takes answers until it is gone.
type piped struct {
	io.Reader
	gone error
}

func (p *piped) Write(b []byte) (int, error) { return len(b), p.gone }
func (p *piped) Close() error                { return nil }

func TestNothingOvertakesAnOpen(t *testing.T) {
	const read, init, status = 5, 1, 101
	said := bytes.Join([][]byte{frame(init, 0, 0, 0, 3), frame(read, 1), frame(typeOpen, 2), frame(read, 3), frame(read, 4), frame(typeOpendir, 5)}, nil)
	client := &piped{Reader: bytes.NewReader(said)}
	o := newInOrder(client)
	got := make(chan byte)
	go func() {
		defer close(got)
		head := make([]byte, 4)
		for {
			if _, err := io.ReadFull(o, head); err != nil {
				if err != io.EOF {
					t.Errorf("the end: got %v, want EOF", err)
				}
				return
			}
			payload := make([]byte, binary.BigEndian.Uint32(head))
			if _, err := io.ReadFull(o, payload); err != nil {
				t.Error(err)
				return
			}
			got <- payload[0]
		}
	}()
	want := func(types ...byte) {
		t.Helper()
		for _, typ := range types {
			if next := <-got; next != typ {
				t.Errorf("got a request of type %d, want %d", next, typ)
			}
		}
	}
	nothing := func() {
		t.Helper()
		select {
		case next := <-got:
			t.Errorf("got a request of type %d before its turn", next)
		case <-time.After(20 * time.Millisecond):
		}
	}
	answer := func(cuts ...int) {
		t.Helper()
		b := frame(status, 0, 0, 0, 1, 0)
		for _, n := range append(cuts, len(b)) {
			n = min(n, len(b))
			if _, err := o.Write(b[:n]); err != nil && client.gone == nil {
				t.Fatal(err)
			}
			b = b[n:]
		}
	}
	want(init, read)
	nothing() // the open waits for both answers
	answer()
	nothing()
	answer(1, 2, 3) // which may come in parts
	want(typeOpen)
	nothing() // what follows waits for its answer
	answer(4, 1)
	want(read, read)
	nothing()
	client.gone = io.ErrClosedPipe // and a client that is gone is waited for no longer, nor heard
	answer()
	if next, more := <-got; more {
		t.Errorf("of a client that is gone came a request of type %d", next)
	}
}
