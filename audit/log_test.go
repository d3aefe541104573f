package audit_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/culvert-ssh/culvert/audit"
)

func noon() time.Time { return time.Date(2026, 11, 22, 12, 0, 0, 0, time.FixedZone("", 3600)) }

func TestEventIsOneLineThatBeginsWithTimeAndName(t *testing.T) {
	for _, tt := range []struct {
		event audit.Event
		want  string
	}{
		{audit.Server{Action: "stop"}, `{"time":"2026-11-22T11:00:00.000Z","event":"server","action":"stop"}` + "\n"},
		{empty{}, `{"time":"2026-11-22T11:00:00.000Z","event":"empty"}` + "\n"},
	} {
		var b bytes.Buffer
		if err := audit.New(&b, noon).Write(tt.event); err != nil {
			t.Fatal(err)
		}
		if b.String() != tt.want {
			t.Errorf("got %s want %s", b.String(), tt.want)
		}
	}
}

type empty struct{}

func (empty) EventName() string { return "empty" }

func TestWhatAPeerControlsCannotReachATerminal(t *testing.T) {
	const nasty = "a\nb\x1b[2J\x7f\u009b31m\u0085\u2028\u202e\U000e0041\"\\\x00é😀"
	var b bytes.Buffer
	if err := audit.New(&b, noon).Write(audit.FTPLogin{Login: nasty}); err != nil {
		t.Fatal(err)
	}
	line := b.String()
	if i := strings.IndexFunc(strings.TrimSuffix(line, "\n"), func(r rune) bool { return !unicode.IsPrint(r) }); i >= 0 {
		t.Errorf("something unprintable at %d of %q", i, line)
	}
	var back struct{ Login string }
	if err := json.Unmarshal([]byte(line), &back); err != nil || back.Login != nasty {
		t.Errorf("reads back as %q, %v; want %q", back.Login, err, nasty)
	}
}

func TestEventThatCannotBeWrittenIsAnError(t *testing.T) {
	full := errors.New("disk full")
	if err := audit.New(failing{full}, noon).Write(audit.Server{}); !errors.Is(err, full) {
		t.Errorf("got %v, want %v", err, full)
	}
}

func TestSeveralEventsAreOneWriteOrNone(t *testing.T) {
	var writes writeCounter
	if err := audit.New(&writes, noon).Write(audit.Server{Action: "start"}, audit.Server{Action: "end"}); err != nil {
		t.Fatal(err)
	}
	if len(writes) != 1 || strings.Count(writes[0], "\n") != 2 || strings.Index(writes[0], "start") > strings.Index(writes[0], "end") {
		t.Errorf("got %q, want two lines in one write", writes)
	}
	l := audit.New(failing{errors.New("disk full")}, noon)
	defer l.Close()
	if err := l.Write(audit.Server{Action: "start"}, audit.Server{Action: "end"}); err == nil {
		t.Error("a full disk took two events")
	}
	if got := l.State().Lost; got != 2 {
		t.Errorf("%d events are lost, want 2", got)
	}
}

type writeCounter []string

func (w *writeCounter) Write(p []byte) (int, error) { *w = append(*w, string(p)); return len(p), nil }

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

// Who counts events sees each of them, and those that were lost.
func TestEventsAreObserved(t *testing.T) {
	var seen []audit.Event
	l := audit.New(failing{errors.New("disk full")}, noon)
	defer l.Close()
	l.Observe(func(e audit.Event) { seen = append(seen, e) })
	if err := l.Write(audit.Server{Action: "start"}); err == nil {
		t.Fatal("a full disk took an event")
	}
	if len(seen) != 2 || seen[0] != (audit.Server{Action: "start"}) {
		t.Fatalf("got %+v, want the event and that it was lost", seen)
	}
	if lost, ok := seen[1].(audit.Lost); !ok || lost.Lost != 1 || lost.Reason == "" {
		t.Errorf("got %+v, want one lost event and why", seen[1])
	}
}
