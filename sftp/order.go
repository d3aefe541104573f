package sftp

import (
	"bufio"
	"encoding/binary"
	"io"
	"sync"
)

// Types of packets (draft-ietf-secsh-filexfer-02, section 3).
const (
	typeOpen    = 3
	typeOpendir = 11
)

// inOrder hands a request that opens something on when all before it are answered, and the next one when it is answered itself.
//
// pkg/sftp (v1.13.12) serves reads and writes beside everything else, and numbers its handles. A client that guesses the number of a
// file that is about to be open has a request served of which half is written: that is a panic where nobody recovers, and the end of
// everybody's connections. Honest clients wait for a handle before they use it.
type inOrder struct {
	io.WriteCloser
	from *bufio.Reader
	left int64 // bytes of the current request that are not read yet

	mu       sync.Mutex
	changed  sync.Cond
	pending  int // requests that were handed on and have no answer
	opening  bool
	broken   bool // no answer is written any more
	answered frames
}

func newInOrder(rw io.ReadWriteCloser) *inOrder {
	o := &inOrder{WriteCloser: rw, from: bufio.NewReaderSize(rw, 32<<10)}
	o.changed.L = &o.mu
	return o
}

func (o *inOrder) Read(p []byte) (int, error) {
	if o.left == 0 && !o.begin() {
		return 0, io.EOF
	}
	if o.left > 0 {
		p = p[:min(int64(len(p)), o.left)]
	}
	n, err := o.from.Read(p)
	o.left = max(0, o.left-int64(n))
	return n, err
}

// begin waits for the turn of the request that comes next. It reports false if the client takes no answers any more: then what would come
// has no turn. Of what is cut off it makes nothing.
func (o *inOrder) begin() bool {
	head, err := o.from.Peek(4)
	if err != nil {
		return true
	}
	length := binary.BigEndian.Uint32(head)
	o.left = 4 + int64(length)
	if length == 0 {
		return true // which the library refuses
	}
	if head, err = o.from.Peek(5); err != nil {
		return true
	}
	opens := head[4] == typeOpen || head[4] == typeOpendir
	o.mu.Lock()
	defer o.mu.Unlock()
	for (opens || o.opening) && o.pending > 0 && !o.broken {
		o.changed.Wait()
	}
	o.opening = opens
	o.pending++
	return !o.broken
}

func (o *inOrder) Write(p []byte) (int, error) {
	n, err := o.WriteCloser.Write(p)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.pending -= o.answered.ends(p[:n])
	o.broken = o.broken || err != nil
	o.changed.Broadcast()
	return n, err
}

// frames counts packets in a stream of them.
type frames struct {
	head []byte // of a packet, as long as its length isn't whole
	left int64  // bytes until the end of the packet
}

// ends returns how many packets end in p.
func (f *frames) ends(p []byte) (n int) {
	for len(p) > 0 {
		if f.left == 0 {
			f.head, p = append(f.head, p[0]), p[1:]
			if len(f.head) < 4 {
				continue
			}
			f.left, f.head = int64(binary.BigEndian.Uint32(f.head)), f.head[:0]
		}
		k := min(int64(len(p)), f.left)
		p, f.left = p[k:], f.left-k
		if f.left == 0 {
			n++
		}
	}
	return n
}
