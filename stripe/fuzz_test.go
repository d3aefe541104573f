package stripe

import (
	"encoding/binary"
	"io"
	"testing"
)

// maxSteps is how long a script is: a target that takes long finds little.
const maxSteps = 200

// at is the byte at an offset of the stream that the fuzz targets send.
func at(offset uint64) byte { return byte(offset*7 + offset>>8) }

// script are numbers out of a fuzzer's bytes.
type script []byte

// next returns the next number, small more often than large, and 0 at the end.
func (s *script) next() uint64 {
	if len(*s) == 0 {
		return 0
	}
	kind := (*s)[0]
	*s = (*s)[1:]
	var buf [8]byte
	n := copy(buf[:1+kind%8], *s)
	*s = (*s)[n:]
	return binary.LittleEndian.Uint64(buf[:])
}

// FuzzReceiver has a peer say anything. What is read is what was sent, in its order; there is an end only where the peer said so, and what is held is
// bounded.
func FuzzReceiver(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 0, 0, 0, 5, 0, 1, 0, 5, 0, 3, 0, 2, 0, 9, 0, 4, 0, 14, 0, 2})
	f.Add([]byte{0, 0, 0, 1, 0, 5, 0, 5, 0, 1, 0, 0, 0, 5, 0, 2, 0, 100})
	f.Fuzz(func(t *testing.T, data []byte) {
		in := script(data)
		s, primary := newFakeStream()
		budget := NewBudget(1<<30, 1<<30)
		s.cfg.Share = budget.Share()
		defer func() {
			s.Abort()
			if free := budget.left(); free != 1<<30 {
				t.Errorf("after the end, %d bytes are drawn", 1<<30-free)
			}
		}()
		go func() {
			for {
				select {
				case <-primary.said:
				case <-primary.closed:
					return
				}
			}
		}()
		n := in.next() % 1000
		s.peer(fromRequest, from{n})
		s.striped = true
		got := n
		for range maxSteps {
			if len(in) == 0 || s.over {
				return
			}
			switch in.next() % 4 {
			case 0, 1:
				h := header{in.next(), 1 + int(in.next()%5000)}
				if h.end() < h.offset || s.expect(h) != nil {
					return
				}
				b := newBlock(h.length)
				b.header = h
				for i := range h.length {
					b.buf[i] = at(h.offset + uint64(i))
				}
				if s.arrive(b) != nil {
					return
				}
			case 2:
				(*extension)(s).EndOfData(in.next())
			case 3:
				if !s.in.readable() {
					continue
				}
				p := make([]byte, 1+in.next()%20_000)
				n, err := s.Read(p)
				for i := range n {
					if p[i] != at(got+uint64(i)) {
						t.Fatalf("the byte at %d is %d, want %d", got+uint64(i), p[i], at(got+uint64(i)))
					}
				}
				got += uint64(n)
				if err == io.EOF && (!s.in.said || got != s.in.total) {
					t.Fatalf("an end at %d; the peer said %t, %d", got, s.in.said, s.in.total)
				}
				if err != nil {
					return
				}
			}
			held := 0
			for _, b := range s.in.waiting {
				held += len(b.buf)
			}
			if most := 2*int(s.in.limit-s.in.taken) + maxBlocks*smallest; held > most {
				t.Fatalf("%d bytes are held, want %d at most", held, most)
			}
		}
	})
}

// readable reports whether Read returns at once.
func (in *receiver) readable() bool {
	return in.current != nil || in.whole() || in.ready()
}

// FuzzSender has a peer acknowledge anything, while stripes come and die. No block is sent after the limit, what is sent is what was written, and the end is
// clean only if all was taken.
func FuzzSender(f *testing.F) {
	f.Add([]byte{0, 0, 0, 100, 0, 1, 0, 50, 0, 0, 0, 3})
	f.Add([]byte{0, 0, 1, 255, 255, 0, 2, 0, 0, 0, 200, 0, 1, 0, 100, 0, 0, 0, 3})
	f.Fuzz(func(t *testing.T, data []byte) {
		in := script(data)
		s, primary := newFakeStream()
		budget := NewBudget(1<<30, 1<<30)
		s.cfg.Share = budget.Share()
		defer func() {
			s.Abort()
			if free := budget.left(); free != 1<<30 {
				t.Errorf("after the end, %d bytes are drawn", 1<<30-free)
			}
		}()
		go func() {
			for {
				select {
				case <-primary.said:
				case <-primary.closed:
					return
				}
			}
		}()
		go s.primaryDrained() // where Write goes if the first stripe has died at once
		bad := make(chan string, 100)
		attach := func() *fake {
			side := s.attach(false)
			go func() {
				for {
					h, data, err := side.block()
					if err != nil {
						return
					}
					s.mu.Lock()
					limit := s.out.limit
					s.mu.Unlock()
					for i, b := range data {
						if b != at(h.offset+uint64(i)) || h.end() > limit {
							bad <- "a wrong block"
							return
						}
					}
				}
			}()
			return side
		}
		sides := []*fake{attach()}
		var next uint64
		for range maxSteps {
			if len(in) == 0 || s.Stripes() == 0 {
				break
			}
			switch in.next() % 4 {
			case 0:
				p := make([]byte, 1+in.next()%20_000)
				if s.out != nil && s.room() < len(p)+2*blockSize {
					continue // Write would wait
				}
				for i := range p {
					p[i] = at(next + uint64(i))
				}
				if n, err := s.Write(p); err != nil && n == len(p) {
					t.Fatalf("all was written, and %v", err)
				}
				next += uint64(len(p))
			case 1:
				taken := in.next()
				s.peer(ackRequest, ack{taken, taken + in.next()})
			case 2:
				sides[len(sides)-1].Close()
				if len(sides) < 5 {
					sides = append(sides, attach())
				}
			case 3:
				s.peer(ackRequest, ack{next, next + firstDistance})
			}
			select {
			case what := <-bad:
				t.Fatal(what)
			default:
			}
		}
		s.end(nil) // or CloseWrite would wait
		if s.out == nil {
			return
		}
		if err := s.CloseWrite(); err == nil && s.out.taken != next {
			t.Fatalf("a clean end at %d, of which %d was taken", next, s.out.taken)
		}
	})
}

// room returns how much may be written at once.
func (s *Stream) room() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return int(s.out.limit - s.out.next)
}
