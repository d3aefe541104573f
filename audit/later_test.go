package audit_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/culvert-ssh/culvert/audit"
)

// actions are the actions of the events on a disk, and when they happened.
func (d *disk) actions() string {
	var all []string
	for line := range strings.Lines(d.String()) {
		_, at, _ := strings.Cut(line, `"time":"2000-01-01T00:00:00.`) // where synctest begins
		_, action, _ := strings.Cut(line, `"action":"`)
		action, _, _ = strings.Cut(action, `"`)
		all = append(all, at[:3]+" "+action)
	}
	return strings.Join(all, ", ")
}

func TestWhatIsWrittenLaterComesBeforeTheNextWriteWithItsOwnTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d disk
		l := audit.New(&d, time.Now)
		l.Later(action("a"))
		time.Sleep(3 * time.Millisecond)
		l.Later(action("b"))
		if got := d.actions(); got != "" {
			t.Errorf("%s is written, want nothing yet", got)
		}
		time.Sleep(3 * time.Millisecond)
		write(t, l, action("c"))
		if got, want := d.actions(), "000 a, 003 b, 006 c"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		time.Sleep(time.Second)
		if got, want := d.actions(), "000 a, 003 b, 006 c"; got != want {
			t.Errorf("a second later: got %s, want %s", got, want)
		}
	})
}

func TestWhatIsWrittenLaterIsWrittenSoon(t *testing.T) {
	for what, act := range map[string]func(*audit.Log) error{
		"nothing happens": func(*audit.Log) error { time.Sleep(10 * time.Millisecond); synctest.Wait(); return nil },
		"there are many": func(l *audit.Log) error {
			for range 63 {
				l.Later(action("more"))
			}
			return nil
		},
		"the log is closed": (*audit.Log).Close,
	} {
		synctest.Test(t, func(t *testing.T) {
			var d disk
			l := audit.New(&d, time.Now)
			for range 2 { // the timer as well comes again
				l.Later(action("a"))
				if err := act(l); err != nil {
					t.Fatal(err)
				}
				if got := d.String(); !strings.Contains(got, `"a"`) {
					t.Errorf("%s: got %q, want it written", what, got)
				}
				if what == "the log is closed" {
					break
				}
				d.text.Reset()
			}
		})
	}
}

func TestWhatWasToBeWrittenLaterIsLostWithWhatItWasToBeWrittenWith(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d disk
		l := audit.New(&d, time.Now)
		defer l.Close()
		full := errors.New("disk full")
		d.fill(full)
		l.Later(action("a"))
		if err := l.Write(action("b")); !errors.Is(err, full) {
			t.Errorf("got %v, want %v", err, full)
		}
		l.Later(action("c"))
		time.Sleep(10 * time.Millisecond)
		synctest.Wait()
		if got := l.State().Lost; got != 3 {
			t.Errorf("%d events are lost, want 3", got)
		}
		d.fill(nil)
		write(t, l, action("d"))
		if got := d.String(); !strings.Contains(got, `"lost":3,`) || strings.Count(got, "\n") != 2 {
			t.Errorf("got %s, want that 3 are lost, and d", got)
		}
	})
}
