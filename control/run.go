package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/culvert-ssh/culvert/ftp"
	"github.com/culvert-ssh/culvert/relay"
)

const (
	// chunkSize is how much is read from a side at once. A command is bounded at 4 KiB, so that
	// hardly anything needs two reads.
	chunkSize = 4 << 10

	// writeTimeout is how long a peer may leave what is written to it unread. A reply is
	// far smaller than the socket's buffers, so whoever gets here has stopped reading.
	writeTimeout = 2 * time.Minute

	// HandshakeTimeout is how long a server that agreed to TLS may take for it.
	HandshakeTimeout = 30 * time.Second

	// lingerTimeout is how long a client that was told goodbye is given to read it: closing
	// a TCP connection with unread input resets it, and the reset overtakes the goodbye.
	lingerTimeout = 2 * time.Second
)

// ErrRefused is matched by the error of a session that the state machine closed: one of the
// sides broke the protocol. Its text is for the log.
var ErrRefused = errors.New("FTP session closed")

var errWriteTimeout = errors.New("peer doesn't read")

// ErrHandshake is the cause of the end of a TLS handshake after HandshakeTimeout.
var ErrHandshake = fmt.Errorf("the server took more than %v for the TLS handshake", HandshakeTimeout)

// Run drives the session until one side ends it, and owns both streams; they are closed
// when it returns, and its goroutines have ended. It returns nil if the server ended
// the session (after QUIT, or by itself), an error that matches ErrRefused if the protocol was
// broken, and what else happened otherwise; in that last case the streams were aborted.
func Run(ctx context.Context, cfg Config) error {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Note == nil {
		cfg.Note = func(n ftp.Note) { cfg.Log.Info("ftp note", "text", n.Text) }
	}
	if cfg.Record == nil {
		cfg.Record = unrecorded{}
	}
	if cfg.Count == nil {
		cfg.Count = new(relay.Counters)
	}
	r := &run{Config: cfg, wires: []relay.Stream{cfg.Client, cfg.Server}, done: make(chan struct{})}
	r.client, r.server = r.newReader(), r.newReader()
	if cfg.Dialogue != nil {
		r.dialogue = &dialogue{tell: cfg.Dialogue}
	}
	stop := r.abortWhenDone(ctx)
	defer func() { // also if something below panics
		stop()
		r.abort()
		close(r.done)
		r.readers.Wait()
	}()

	err := r.loop(ctx)
	unread := err == errPassOn
	if unread {
		err = r.passOn(ctx)
	}
	// Before anything that may wait: an endpoint must not outlive its session.
	r.Endpoints.Cancel("control connection ended")
	for _, c := range r.Session.Unanswered() {
		r.Record.Answered(ftp.Answered{Command: c})
	}
	switch {
	case unread:
	case err == nil || errors.Is(err, ErrRefused):
		_ = r.Server.Close() // whatever it still sends is not wanted
		r.finish()
	default:
		r.sayFarewell(err)
	}
	if cause := context.Cause(ctx); cause != nil && err != nil {
		return cause
	}
	return err
}

// unrecorded keeps no record.
type unrecorded struct{}

func (unrecorded) Transferring(ftp.Transferring) {}
func (unrecorded) Answered(ftp.Answered)         {}

// run is one session in progress. Everything but the readers happens in the goroutine of loop.
type run struct {
	Config
	wires          []relay.Stream // Client and Server as they were at the beginning
	client, server *reader
	done           chan struct{} // closed when nobody listens to the readers any more
	readers        sync.WaitGroup
	clientEnded    bool
	toClient       int       // how often it was told something
	dialogue       *dialogue // nil if nobody wants it
}

// chunk is what one Read brought.
type chunk struct {
	data []byte
	err  error
	bug  any // what Read panicked with
}

func (r *run) abort() { relay.AbortAll(r.wires...) }

// A reader reads one side in a goroutine of its own, a chunk whenever it is asked to. What isn't wanted is left to the kernel, which
// tells the peer to wait, or to whoever begins TLS.
type reader struct {
	ask    chan relay.Stream
	chunks chan chunk
	asked  bool // and has not answered; owned by loop
}

func (r *run) newReader() *reader {
	x := &reader{ask: make(chan relay.Stream, 1), chunks: make(chan chunk)}
	r.readers.Go(func() {
		for {
			select {
			case s := <-x.ask:
				c := readChunk(s)
				select {
				case x.chunks <- c:
				case <-r.done:
					return
				}
			case <-r.done:
				return
			}
		}
	})
	return x
}

// next has a chunk of s read, unless one is on its way already, and returns where it will come. Who receives it says so by got.
func (x *reader) next(s relay.Stream) <-chan chunk {
	if !x.asked {
		x.asked = true
		x.ask <- s
	}
	return x.chunks
}

func (x *reader) got() { x.asked = false }

func readChunk(s relay.Stream) (c chunk) {
	defer func() {
		if p := recover(); p != nil { // for loop, in whose goroutine the caller may deal with it
			c = chunk{err: relay.ErrAborted, bug: fmt.Sprintf("%v\n%s", p, debug.Stack())}
		}
	}()
	buf := make([]byte, chunkSize)
	n, err := s.Read(buf)
	return chunk{data: buf[:n], err: err}
}

// loop feeds the state machine and carries out its effects. A side that the machine doesn't
// want to hear is not read: its kernel tells it to wait.
func (r *run) loop(ctx context.Context) error {
	clocks := newClocks()
	defer clocks.stop()
	for {
		clocks.follow(r)
		var client, server <-chan chunk
		if !r.clientEnded && r.Session.WantsClient() {
			client = r.client.next(r.Client)
		}
		if r.Session.WantsServer() {
			server = r.server.next(r.Server)
		}
		var err error
		select {
		case c := <-client:
			r.client.got()
			r.Count.AToB.Add(int64(len(c.data)))
			err = r.fromClient(ctx, c)
		case c := <-server:
			r.server.got()
			r.Count.BToA.Add(int64(len(c.data)))
			if ctx.Err() != nil { // it may be a success of what was cut by the same end
				return context.Cause(ctx)
			}
			err = r.fromServer(ctx, c)
		case <-clocks.login.C:
			err = r.do(ctx, r.Session.LoginExpired())
		case <-clocks.command.C:
			err = r.do(ctx, r.Session.CommandExpired())
		case <-clocks.reply.C:
			err = r.do(ctx, r.Session.ReplyExpired())
		case <-clocks.halfClosed.C:
			return errors.New("the FTP server went on silently after its client had left")
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if err == errEnded {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// errEnded is the server's own end of the session.
var errEnded = errors.New("ended")

func (r *run) fromClient(ctx context.Context, c chunk) error {
	if c.bug != nil {
		panic(c.bug)
	}
	if r.dialogue != nil {
		r.dialogue.came(Client, c.data)
	}
	if err := r.do(ctx, r.Session.FromClient(c.data)); err != nil {
		return err
	}
	switch c.err {
	case nil:
		return nil
	case io.EOF:
		r.clientEnded = true
		return r.do(ctx, r.Session.ClientClosed())
	}
	return fmt.Errorf("read from the FTP client: %w", c.err)
}

func (r *run) fromServer(ctx context.Context, c chunk) error {
	if c.bug != nil {
		panic(c.bug)
	}
	if r.dialogue != nil {
		r.dialogue.came(Server, c.data)
		defer r.dialogue.settle()
	}
	if err := r.do(ctx, r.Session.FromServer(c.data)); err != nil {
		return err
	}
	switch c.err {
	case nil:
		return nil
	case io.EOF:
		if err := r.do(ctx, r.Session.ServerClosed()); err != nil && !errors.Is(err, ErrRefused) {
			return err
		}
		return errEnded
	}
	return fmt.Errorf("read from the FTP server: %w", c.err)
}

// do carries out effects. A question, such as an Announce, has its answer before anything after it is seen: parse,
// install, forward.
func (r *run) do(ctx context.Context, effects []ftp.Effect) error {
	for i := 0; i < len(effects); i++ {
		switch e := effects[i].(type) {
		case ftp.ToClient:
			if err := r.say(false, e.Data); err != nil {
				return fmt.Errorf("write to the FTP client: %w", err)
			}
		case ftp.ToServer:
			if err := r.say(true, e.Data); err != nil {
				return fmt.Errorf("write to the FTP server: %w", err)
			}
		case ftp.Announce:
			at, err := r.Endpoints.Open(ctx, e.Endpoint)
			if err != nil {
				effects, i = r.Session.Refused(err.Error()), -1
			} else {
				effects, i = r.Session.Announced(at), -1
			}
		case ftp.Listen:
			at, err := r.Endpoints.Listen(ctx, e)
			if err != nil {
				effects, i = r.Session.Refused(err.Error()), -1
			} else {
				effects, i = r.Session.Listening(at), -1
			}
		case ftp.StartTLS:
			if err := r.startTLS(ctx); err != nil {
				effects, i = r.Session.Unsecured(err.Error()), -1
			} else {
				effects, i = r.Session.Secured(), -1
			}
		case ftp.Unread:
			if err := r.unread(ctx); err != nil {
				effects, i = r.Session.Refused(err.Error()), -1
			} else {
				effects, i = r.Session.Unreading(), -1
			}
		case ftp.PassOn:
			return errPassOn
		case ftp.Ending:
			if err := r.Endpoints.End(ctx); err != nil {
				effects, i = r.Session.Refused(err.Error()), -1
			} else {
				effects, i = r.Session.Ended(), -1
			}
		case ftp.Measured:
			if r.Measured != nil {
				r.Measured(e)
			}
		case ftp.Beginning:
			r.Endpoints.Begin(ctx)
		case ftp.Cancel:
			r.Endpoints.Cancel(e.Reason)
		case ftp.ServerEOF:
			if err := r.Server.CloseWrite(); err != nil {
				return fmt.Errorf("end the FTP server's input: %w", err)
			}
		case ftp.Note:
			r.Note(e)
		case ftp.Transferring:
			r.Record.Transferring(e)
		case ftp.Answered:
			r.Record.Answered(e)
		case ftp.Close:
			return fmt.Errorf("%w: %s", ErrRefused, e.Reason)
		}
	}
	return nil
}

// startTLS puts the connection to the server inside TLS.
func (r *run) startTLS(ctx context.Context) error {
	switch {
	case r.StartTLS == nil:
		return errors.New("TLS with the server is not known here")
	case r.server.asked: // what comes next would be read in two places
		return errors.New("TLS begins in the middle of something else")
	}
	ctx, cancel := context.WithTimeoutCause(ctx, HandshakeTimeout, ErrHandshake)
	defer cancel()
	secured, err := r.StartTLS(ctx, r.Server)
	if err == nil {
		r.Server = secured
	}
	return err
}

// write writes p, and aborts s if its peer doesn't read.
func write(s relay.Stream, p []byte) error {
	var late atomic.Bool
	t := time.AfterFunc(writeTimeout, func() { late.Store(true); s.Abort() })
	defer t.Stop()
	_, err := s.Write(p)
	if err != nil && late.Load() {
		return errWriteTimeout
	}
	return err
}

// finish ends the client's side in order: it gets to read what it was told last.
func (r *run) finish() {
	if r.Client.CloseWrite() != nil {
		return // gone; abort does the rest
	}
	if !r.clientEnded {
		linger := time.NewTimer(lingerTimeout)
		defer linger.Stop()
		for ended := false; !ended; {
			select {
			case c := <-r.client.next(r.Client):
				r.client.got()
				ended = c.err != nil
			case <-linger.C:
				ended = true
			}
		}
	}
	_ = r.Client.Close()
}
