package channels

import (
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// still is a channel of which the test says what it moves.
type still struct {
	kind  string
	moved int64
	why   error
}

func (*still) info() Info                  { return Info{} }
func (*still) recheck() bool               { return false }
func (s *still) activity() (string, int64) { return s.kind, s.moved }
func (s *still) abort(why error)           { s.why = why }

func TestChannelTimeoutFirstPatternCounts(t *testing.T) {
	w := newWatch([]Timeout{
		{"x11*", 0}, {"session:subsystem:*", 3 * time.Minute}, {"session", 2 * time.Minute}, {"global", time.Hour}, {"*", time.Minute},
	})
	for kind, want := range map[string]time.Duration{
		"x11-connection": 0, "direct-tcpip": time.Minute, "forwarded-tcpip": time.Minute,
		"session": 2 * time.Minute, "session:shell": 2 * time.Minute, "session:subsystem:sftp": 3 * time.Minute,
	} {
		if got := w.limit(kind); got != want {
			t.Errorf("%s: %v, want %v", kind, got, want)
		}
	}
	if w.global() != time.Hour || w.every != time.Minute/8 {
		t.Errorf("global is %v and looked for every %v", w.global(), w.every)
	}
	if w := newWatch([]Timeout{{"*", 0}}); w.every != 0 {
		t.Errorf("without a timeout it looks every %v", w.every)
	}
}

func TestIdleChannelIsClosedAfterItsTimeoutAndNeverBefore(t *testing.T) {
	w := newWatch([]Timeout{{"direct-tcpip", 8 * time.Second}})
	silent, busy, other := &still{kind: "direct-tcpip"}, &still{kind: "direct-tcpip"}, &still{kind: "session"}
	begin := time.Unix(0, 0)
	for second := range 20 {
		if second == 3 {
			silent.moved++
		}
		busy.moved++
		w.look([]channel{silent, busy, other}, begin.Add(time.Duration(second)*time.Second))
		if closed := silent.why != nil; closed != (second >= 3+8) {
			t.Errorf("second %d: closed is %t", second, closed)
		}
	}
	if want := "it moved no byte in 8s (ChannelTimeout direct-tcpip)"; silent.why == nil || silent.why.Error() != want {
		t.Errorf("got %v, want %s", silent.why, want)
	}
	if busy.why != nil || other.why != nil {
		t.Errorf("closed as well: %v, %v", busy.why, other.why)
	}
	w.look(nil, begin)
	if len(w.marks) != 0 {
		t.Errorf("%d channels are remembered that are gone", len(w.marks))
	}
}

func TestGlobalTimeoutClosesEverythingOnceNothingMoves(t *testing.T) {
	w := newWatch([]Timeout{{"global", 8 * time.Second}})
	a, b := &still{kind: "direct-tcpip"}, &still{kind: "session"}
	for second := range 20 {
		if second <= 5 {
			b.moved++
		}
		w.look([]channel{a, b}, time.Unix(int64(second), 0))
		if got := []bool{a.why != nil, b.why != nil}; !slices.Equal(got, []bool{second >= 5+8, second >= 5+8}) {
			t.Errorf("second %d: closed are %v", second, got)
		}
	}
}

func TestControlChannelIsNotIdleWhileItsDataMoves(t *testing.T) {
	w := newWatch([]Timeout{{"direct-tcpip", 8 * time.Second}})
	c := &Conn{}
	f := &ftpControl{opening: &opening{Conn: c, nc: named("direct-tcpip")}}
	control := &stream{opening: f.opening, owner: f}
	data := &stream{opening: &opening{Conn: c, nc: named("direct-tcpip")}, owner: f, isData: true}
	c.closed = true // nothing is aborted, only noted
	for second := range 40 {
		if second <= 20 {
			data.count.BToA.Add(1)
		}
		w.look([]channel{control, data}, time.Unix(int64(second), 0))
		if got := []bool{control.ended.Load() != nil, data.ended.Load() != nil}; !slices.Equal(got, []bool{second >= 20+8, second >= 20+8}) {
			t.Errorf("second %d: closed are %v", second, got)
		}
	}
}

// named is a new channel of a type.
type named string

func (n named) ChannelType() string                             { return string(n) }
func (named) ExtraData() []byte                                 { return nil }
func (named) Accept() (ssh.Channel, <-chan *ssh.Request, error) { return nil, nil, io.EOF }
func (named) Reject(ssh.RejectionReason, string) error          { return io.EOF }

// A client that doesn't confirm that its session is closed is read no further.
func TestSessionThatHasEndedHearsNothing(t *testing.T) {
	s := &session{}
	c := counted{struct {
		io.Reader
		io.Writer
	}{strings.NewReader("remove this"), io.Discard}, s}
	one := make([]byte, 1)
	if n, err := c.Read(one); n != 1 || err != nil {
		t.Fatalf("got %d, %v", n, err)
	}
	why := error(&revoked{})
	s.ended.Store(&why)
	if n, err := c.Read(one); n != 0 || err != io.EOF {
		t.Errorf("after its end: got %d, %v, want EOF", n, err)
	}
}
