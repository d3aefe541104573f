package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/culvert-ssh/culvert/activity"
	"github.com/culvert-ssh/culvert/ftp"
	"github.com/culvert-ssh/culvert/relay"
)

// follower tells a meter what one FTP session transfers. It is the session's control.Recorder. If the meter is nil, nobody wants to know, and next to
// nothing is done.
type follower struct {
	meter *activity.ConnectionMeter

	mu      sync.Mutex
	due     []*followed // transfers without a final reply, the oldest first
	current *dataFlow   // of the endpoint announced last
	sizes   *ftp.Sizes  // of the files in listings, as they are called in the present working directory
}

// followed is one transfer. It is over when the server has said so and its data connection has ended, in whichever order.
type followed struct {
	command  ftp.Command
	meter    *activity.TransferMeter
	flow     *dataFlow
	block    bool // the data connection goes on
	begun    bool
	complete bool // the server says so
}

// dataFlow is what one data connection carries: A is the FTP client.
type dataFlow struct {
	relay.Counters
	follower  *follower
	listing   atomic.Pointer[ftp.SizeReader] // what reads the data, or nil
	transfers []*followed
	ended     bool
	err       error // how it has ended
}

// errNoData is how a data connection ends that was never made.
var errNoData = errors.New("it was not made")

func newFollower(meter *activity.ConnectionMeter) *follower {
	return &follower{meter: meter, sizes: new(ftp.Sizes)}
}

// announced begins to count what goes over the endpoint that is announced. The caller must call end.
func (f *follower) announced() *dataFlow {
	flow := &dataFlow{follower: f}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.current = flow
	return flow
}

// note is [control.Config.Note]: it tells the log, and who has logged in.
func (f *follower) note(log *slog.Logger) func(ftp.Note) {
	return func(n ftp.Note) {
		logNote(log, n)
		if n.Kind == ftp.NoteLogin {
			f.meter.LoggedIn(n.Text)
		}
	}
}

var directions = map[ftp.Direction]activity.Direction{
	ftp.Download: activity.Download, ftp.Upload: activity.Upload, ftp.Listing: activity.Listing,
}

// Transferring is [control.Recorder.Transferring].
func (f *follower) Transferring(t ftp.Transferring) {
	if f.meter == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	x := &followed{
		command: t.Command, flow: f.current, block: t.Block,
		meter: f.meter.Transfer(activity.Transfer{File: t.Command.Path, Direction: directions[t.Command.Direction()]}),
	}
	f.due = append(f.due, x)
	if x.flow == nil {
		return
	}
	x.meter.Count(&x.flow.Counters)
	if x.block { // its end says nothing about any of them
		return
	}
	x.flow.transfers = append(x.flow.transfers, x)
	if t.Command.Direction() == ftp.Listing {
		x.flow.listing.Store(ftp.NewSizeReader(t.Command, f.remember(f.sizes)))
	}
}

// remember keeps the sizes of a listing, unless names mean other files by then.
func (f *follower) remember(sizes *ftp.Sizes) func(path string, size int64) {
	return func(path string, size int64) {
		f.mu.Lock()
		defer f.mu.Unlock()
		sizes.Add(path, size)
	}
}

// measured is [control.Config.Measured].
func (f *follower) measured(m ftp.Measured) {
	if f.meter == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, x := range f.due {
		if x.begun {
			continue
		}
		x.begun = true
		if m.Size == 0 && !m.Coded && x.command.Direction() == ftp.Download {
			m.Size = f.sizes.Of(x.command.Path)
		}
		x.meter.Begun(activity.Transfer{File: m.Name, Offset: m.Offset, Size: m.Size, Compressed: m.Coded})
		return
	}
}

// Answered is [control.Recorder.Answered].
func (f *follower) Answered(a ftp.Answered) {
	if f.meter == nil || a.Here {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if a.Code < 400 && (a.Command.Elsewhere() || a.Command.Class == ftp.ClassWrite) {
		f.sizes = new(ftp.Sizes)
	}
	if a.Command.Direction() == "" || len(f.due) == 0 {
		return
	}
	x := f.due[0]
	f.due = f.due[1:]
	switch {
	case a.Code == 0:
		x.meter.End(activity.Failed, "the server has not said how it ended")
	case a.Code >= 400 && a.Aborted:
		x.meter.End(activity.Aborted, "")
	case a.Code >= 400:
		x.meter.End(activity.Failed, fmt.Sprintf("the server says %d", a.Code))
	default:
		x.complete = true
		x.settle()
	}
}

// settle ends a transfer if it is over. It needs the follower's mu.
func (x *followed) settle() {
	switch {
	case !x.complete:
	case x.flow == nil, x.block, x.flow.ended && x.flow.err == nil:
		x.meter.End(activity.Done, "")
	case x.flow.ended:
		x.meter.End(activity.Failed, "the data connection broke off")
	}
}

// join is relay.Join, with the FTP client first.
func (d *dataFlow) join(ctx context.Context, client, server relay.Stream) error {
	if d.follower.meter != nil {
		server = &readAlong{server, d}
	}
	err := relay.Join(ctx, client, server, &d.Counters)
	d.end(err)
	return err
}

// end says that the data connection has ended, or that there won't be one. Only the first call counts.
func (d *dataFlow) end(err error) {
	d.follower.mu.Lock()
	defer d.follower.mu.Unlock()
	if d.ended {
		return
	}
	d.ended, d.err = true, err
	for _, x := range d.transfers {
		x.settle()
	}
}

// readAlong is a stream whose data is shown to who reads listings.
type readAlong struct {
	relay.Stream
	flow *dataFlow
}

func (r *readAlong) Read(p []byte) (int, error) {
	n, err := r.Stream.Read(p)
	if l := r.flow.listing.Load(); l != nil {
		l.Feed(p[:n])
	}
	return n, err
}
