package standing

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"github.com/culvert-ssh/culvert/activity"
	"github.com/culvert-ssh/culvert/client"
)

// Config is what [Serve] needs. Place, Load, Log and Environment are required.
type Config struct {
	Place   Place
	Version string // of the program

	// Load returns the profiles in a file, or, if that is empty, in the usual ones.
	Load func(file string) ([]Profile, error)
	// Ask puts a question where nobody waits for a tunnel to come up: an askpass program. If nil, nobody can be asked then.
	Ask func(ctx context.Context, question string, echo bool) (string, error)
	// Environment takes what a person who calls has in the environment.
	Environment func(map[string]string)
	Log         *slog.Logger

	// First is what comes up before anybody has called. If nil, the process ends if nobody calls soon.
	First *Up
	// Ready is called when First has come up and calls are answered. If nil, nobody is told.
	Ready func(up []Result)
}

// ErrTaken is the error of Serve where another process serves already.
var ErrTaken = errors.New("another process holds your tunnels: culvert status shows them, culvert down --all ends it")

const (
	// firstCall is how long the first call may take to come.
	firstCall = 15 * time.Second
	// maxCalls bounds the calls that are answered at once.
	maxCalls = 64
)

// Serve holds tunnels until ctx is done or none is up any more. All has ended when it returns.
func Serve(ctx context.Context, cfg Config) error {
	lock, err := cfg.Place.takeSoon(ctx)
	if err != nil {
		return err
	}
	defer lock.Close() // last of all: who comes next may have the same ports
	l, err := cfg.Place.listen()
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	s := &server{
		cfg: cfg, keeper: &keeper{cfg: cfg, board: new(activity.Board), budget: client.NewBudget()}, since: time.Now(), stop: stop,
		room: make(chan struct{}, maxCalls),
	}
	var wg sync.WaitGroup
	wg.Go(func() { s.keeper.board.Run(ctx) })
	wg.Go(func() {
		<-ctx.Done()
		_ = l.Close()
	})
	defer wg.Wait()
	defer func() {
		stop()
		s.keeper.down(&Down{All: true})
	}()
	if err := s.first(ctx); err != nil {
		return err
	}
	s.accept(ctx, l)
	return nil
}

// takeSoon takes the place, and waits for one who has it and answers nobody: who is ending, or is only looking. If the other one answers,
// the error is ErrTaken.
func (p Place) takeSoon(ctx context.Context) (*os.File, error) {
	for late := time.Now().Add(startPatience); ; {
		lock, err := p.take()
		if !errors.Is(err, errTaken) {
			return lock, err
		}
		if c, err := p.dial(); err == nil {
			return nil, errors.Join(ErrTaken, c.Close())
		}
		if time.Now().After(late) {
			return nil, ErrTaken
		}
		select {
		case <-time.After(startLook):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// server answers calls.
type server struct {
	cfg    Config
	keeper *keeper
	since  time.Time
	stop   func()

	room  chan struct{}
	mu    sync.Mutex
	calls int  // that are being answered
	begun bool // somebody has asked something, or the time for it is over
}

// first brings up what is to be up from the beginning.
func (s *server) first(ctx context.Context) error {
	if s.cfg.First == nil {
		time.AfterFunc(firstCall, func() {
			s.begin()
			s.left()
		})
		s.ready(nil)
		return nil
	}
	results, err := s.keeper.up(ctx, s.cfg.First, Person{})
	if err != nil {
		return err
	}
	if len(s.keeper.all()) == 0 {
		if len(results) == 1 {
			return fmt.Errorf("%s: %s", results[0].Name, results[0].Error)
		}
		return errors.New("no tunnel came up")
	}
	s.ready(results)
	return nil
}

func (s *server) ready(up []Result) {
	if s.cfg.Ready != nil {
		s.cfg.Ready(up)
	}
}

func (s *server) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begun = true
}

// left ends the process if it has nothing to do any more.
func (s *server) left() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.begun && s.calls == 0 && len(s.keeper.all()) == 0 {
		s.stop()
	}
}

// enter counts a call, unless the process is ending.
func (s *server) enter(ctx context.Context) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ctx.Err() != nil {
		return false
	}
	s.calls++
	return true
}

// accept answers calls until l is closed, and returns when all of them have been answered.
func (s *server) accept(ctx context.Context, l *net.UnixListener) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		s.room <- struct{}{}
		c, err := l.AcceptUnix()
		if ctx.Err() != nil {
			if err == nil {
				_ = c.Close()
			}
			return
		}
		if err != nil {
			<-s.room
			s.cfg.Log.Error("a call can't be answered", "err", err)
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
			continue
		}
		if !s.enter(ctx) {
			_ = c.Close()
			return
		}
		wg.Go(func() {
			s.answer(ctx, c)
			s.mu.Lock()
			s.calls--
			s.mu.Unlock()
			s.left()
			<-s.room
		})
	}
}

// answer answers one call.
func (s *server) answer(ctx context.Context, c *net.UnixConn) {
	defer c.Close()
	if err := sameUser(c); err != nil {
		s.cfg.Log.Warn("somebody else was sent away", "err", err)
		return
	}
	w := newWire(c, maxAsked)
	var r Request
	err := w.SetReadDeadline(time.Now().Add(lineTimeout))
	if err == nil {
		err = w.receive(&r)
	}
	if err == nil {
		err = w.SetReadDeadline(time.Time{})
	}
	if err != nil {
		s.cfg.Log.Debug("a call was not understood", "err", err)
		return
	}
	s.begin()
	ctx, hangUp := context.WithCancel(ctx)
	x := &caller{wire: w, answers: make(chan answer), gone: ctx.Done()}
	var wg sync.WaitGroup
	wg.Go(func() { x.listen(ctx, hangUp) })
	reply, err := s.carryOut(ctx, r, x)
	last := message{Reply: reply}
	if err != nil {
		last = message{Error: err.Error(), Ending: ctx.Err() != nil}
	}
	_ = w.send(last) // or nobody is there any more
	hangUp()
	_ = c.Close()
	wg.Wait()
}

// carryOut does what is asked.
func (s *server) carryOut(ctx context.Context, r Request, x *caller) (*Reply, error) {
	reply := &Reply{Protocol: protocol, Version: s.cfg.Version, PID: os.Getpid(), Since: s.since}
	if r.Protocol != protocol && r.Down == nil {
		return nil, fmt.Errorf("the background process (%d) is of culvert %s, and yours of %s, which it doesn't understand: end it with culvert down --all, and bring the tunnels up again",
			reply.PID, s.cfg.Version, r.Version)
	}
	switch {
	case r.Up != nil:
		s.cfg.Environment(r.Up.Environment)
		results, err := s.keeper.up(ctx, r.Up, Person{Notice: x.notice, Ask: x.ask})
		if err != nil {
			return nil, err
		}
		reply.Results = results
	case r.Down != nil:
		reply.Results = s.keeper.down(r.Down)
	case r.Status != nil:
		reply.Tunnels, reply.Activity = s.keeper.status()
	default:
		return nil, errors.New("nothing was asked that is known here")
	}
	return reply, nil
}

// caller is who has called.
type caller struct {
	*wire
	answers chan answer
	gone    <-chan struct{} // closed when the caller has hung up
}

// listen hands answers over until the caller hangs up.
func (x *caller) listen(ctx context.Context, hungUp func()) {
	defer hungUp()
	for {
		var a answer
		if x.receive(&a) != nil {
			return
		}
		select {
		case x.answers <- a:
		case <-ctx.Done():
			return
		}
	}
}

func (x *caller) notice(line string) { _ = x.send(message{Notice: line}) } // or nobody is there any more

// ask puts a question to the caller. It is called by one at a time.
func (x *caller) ask(ctx context.Context, text string, echo bool) (string, error) {
	if err := x.send(message{Question: &question{text, echo}}); err != nil {
		return "", fmt.Errorf("ask who has called: %w", err)
	}
	select {
	case a := <-x.answers:
		if a.Error != "" {
			return "", errors.New(a.Error)
		}
		return a.Text, nil
	case <-x.gone:
		return "", errors.New("who has called has hung up")
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}
