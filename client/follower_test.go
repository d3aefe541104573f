package client

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/culvert-ssh/culvert/activity"
	"github.com/culvert-ssh/culvert/ftp"
)

// told is what a follower has told of one session.
type told struct {
	*follower
	t     *testing.T
	board *activity.Board
	ended []string
}

func follow(t *testing.T) *told {
	x := &told{t: t, board: new(activity.Board)}
	x.board.OnEnd = func(e activity.Ended) {
		line := fmt.Sprintf("%s %s %s: %d of %d", e.Direction, e.File, e.Outcome, e.Bytes, e.Size)
		if e.Cause != "" {
			line += ", " + e.Cause
		}
		x.ended = append(x.ended, line)
	}
	x.follower = newFollower(x.board.Tunnel(activity.Tunnel{Kind: activity.Local, FTP: true}).Connection(activity.Connection{FTP: true}))
	return x
}

// asks has a transfer asked for, on the data connection of a new announcement.
func (x *told) asks(line string) *dataFlow {
	flow := x.announced()
	x.Transferring(ftp.Transferring{Command: commandOf(line)})
	return flow
}

// commandOf is what is on record of a command with a plain path.
func commandOf(line string) ftp.Command {
	verb, path, _ := strings.Cut(line, " ")
	class := map[string]ftp.Class{"STOR": ftp.ClassWrite, "CWD": ftp.ClassSession}[verb]
	return ftp.Command{Verb: verb, Path: path, Class: class}
}

func (x *told) answers(line string, code int) {
	x.Answered(ftp.Answered{Command: commandOf(line), Code: code})
}

func (x *told) want(lines ...string) {
	x.t.Helper()
	if diff := cmp.Diff(lines, x.ended); diff != "" {
		x.t.Errorf("told of (-want +got):\n%s", diff)
	}
	x.ended = nil
}

var errBroken = errors.New("broken")

func TestTransferIsDoneWhenReplyAndDataHaveEnded(t *testing.T) {
	x := follow(t)
	flow := x.asks("RETR f")
	x.measured(ftp.Measured{Size: 500})
	flow.BToA.Add(500)
	x.answers("RETR f", 226)
	x.want()
	flow.end(nil)
	x.want("download f done: 500 of 500")

	flow = x.asks("STOR g")
	flow.AToB.Add(70)
	flow.end(nil)
	x.want()
	x.answers("STOR g", 226)
	x.want("upload g done: 70 of 0")
}

func TestTransferThatIsNotWholeIsNotDone(t *testing.T) {
	x := follow(t)
	x.asks("RETR a").end(errBroken)
	x.answers("RETR a", 226)
	x.want("download a failed: 0 of 0, the data connection broke off")

	flow := x.asks("RETR b")
	x.answers("RETR b", 226)
	flow.end(errBroken)
	x.want("download b failed: 0 of 0, the data connection broke off")

	x.asks("RETR c").end(nil)
	x.answers("RETR c", 550)
	x.want("download c failed: 0 of 0, the server says 550")

	x.asks("RETR d")
	x.Answered(ftp.Answered{Command: commandOf("RETR d"), Code: 426, Aborted: true})
	x.want("download d aborted: 0 of 0")

	x.asks("RETR e").end(nil)
	x.answers("RETR e", 0)
	x.want("download e failed: 0 of 0, the server has not said how it ended")

	x.asks("RETR f").end(nil)
	x.meter.Close()
	x.want("download f failed: 0 of 0, the control connection ended")
}

// A refusal of our own ends no transfer, as none has begun.
func TestAnswersOfOurOwnEndNothing(t *testing.T) {
	x := follow(t)
	flow := x.asks("RETR a")
	x.Answered(ftp.Answered{Command: commandOf("RETR b"), Code: 425, Here: true})
	x.want()
	flow.end(nil)
	x.answers("RETR a", 226)
	x.want("download a done: 0 of 0")
}

// In block mode a data connection serves several transfers, and has no end between them.
func TestTransfersShareADataConnection(t *testing.T) {
	x := follow(t)
	flow := x.announced()
	for i, name := range []string{"a", "b"} {
		x.Transferring(ftp.Transferring{Command: commandOf("RETR " + name), Block: true})
		x.measured(ftp.Measured{Coded: true})
		flow.BToA.Add(int64(10 * (i + 1)))
		x.answers("RETR "+name, 250)
		x.want(fmt.Sprintf("download %s done: %d of 0", name, 10*(i+1)))
	}
}

func TestListingTellsTheSizesOfDownloads(t *testing.T) {
	const line = "-rw-r--r-- 1 ftp ftp 1234 Nov 26 05:00 f\r\n"
	x := follow(t)
	list := func() {
		flow := x.asks("LIST")
		flow.listing.Load().Feed([]byte(line))
		flow.end(nil)
		x.answers("LIST", 226)
		x.want("listing  done: 0 of 0")
	}
	download := func(m ftp.Measured, size int64) {
		t.Helper()
		x.asks("RETR f").end(nil)
		x.measured(m)
		x.answers("RETR f", 226)
		x.want(fmt.Sprintf("download f done: 0 of %d", size))
	}
	list()
	download(ftp.Measured{}, 1234)
	download(ftp.Measured{Offset: 7}, 1234)
	download(ftp.Measured{Size: 5}, 5)
	download(ftp.Measured{Coded: true}, 0)
	x.answers("CWD d", 550)
	download(ftp.Measured{}, 1234)
	x.answers("CWD d", 250)
	download(ftp.Measured{}, 0)

	list()
	x.asks("STOR f").end(nil)
	x.answers("STOR f", 226)
	x.want("upload f done: 0 of 0")
	download(ftp.Measured{}, 0)

	late := x.asks("LIST") // whose data comes when the directory is another
	x.answers("LIST", 226)
	x.answers("CWD d", 250)
	late.listing.Load().Feed([]byte(line))
	late.end(nil)
	x.want("listing  done: 0 of 0")
	download(ftp.Measured{}, 0)
}

func TestLoginIsShown(t *testing.T) {
	x := follow(t)
	x.note(slog.New(slog.DiscardHandler))(ftp.Note{Kind: ftp.NoteLogin, Text: "alice"})
	if got := x.board.Snapshot().Tunnels[0].Connections[0].User; got != "alice" {
		t.Errorf("the user is %q, want alice", got)
	}
}

func TestFollowerWithoutMeterDoesNothing(t *testing.T) {
	f := newFollower(nil)
	flow := f.announced()
	f.Transferring(ftp.Transferring{Command: commandOf("LIST")})
	f.measured(ftp.Measured{})
	f.Answered(ftp.Answered{Command: commandOf("LIST"), Code: 226})
	flow.end(nil)
	if len(f.due) > 0 || flow.listing.Load() != nil {
		t.Errorf("it keeps %v, and reads a listing: %v", f.due, flow.listing.Load() != nil)
	}
}
