package standing

import (
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"
	"time"
)

// Person is who a call is made for. The zero Person sees nothing and answers nothing.
type Person struct {
	Notice func(line string)                                                     // is told what the person should see. If nil, nobody is
	Ask    func(ctx context.Context, question string, echo bool) (string, error) // puts a question. If nil, nobody can be asked
}

// Call asks the process of the place. If there is none, the error matches ErrNotRunning.
func (p Place) Call(ctx context.Context, r Request, person Person) (*Reply, error) {
	reply, err := p.call(ctx, r, person)
	if errors.Is(err, errEnding) { // nothing is up any more
		err = ErrNotRunning
	}
	return reply, err
}

// errEnding is the error of a call that came too late.
var errEnding = errors.New("the background process is ending")

func (p Place) call(ctx context.Context, r Request, person Person) (*Reply, error) {
	c, err := p.dial()
	if err != nil {
		return nil, err
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	w := newWire(c, maxLine)
	r.Protocol = protocol
	reply, err := w.converse(ctx, r, person)
	switch {
	case err == nil || errors.Is(err, errEnding) || errors.Is(err, errAnswered):
		return reply, err
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	}
	return nil, fmt.Errorf("talk to the background process: %w", err)
}

// errAnswered is matched by an error that is the answer.
var errAnswered = errors.New("the background process says no")

type refusal struct{ text string }

func (r refusal) Error() string        { return r.text }
func (r refusal) Is(target error) bool { return target == errAnswered }

func (w *wire) converse(ctx context.Context, r Request, person Person) (*Reply, error) {
	if err := w.send(r); errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) {
		return nil, errEnding
	} else if err != nil {
		return nil, err
	}
	for silent := true; ; silent = false {
		var m message
		err := w.receive(&m)
		switch {
		case silent && (errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)):
			return nil, errEnding // before it has read what it was asked
		case err != nil:
			return nil, err
		case m.Ending:
			return nil, errEnding
		case m.Error != "":
			return nil, refusal{m.Error}
		case m.Reply != nil:
			return m.Reply, nil
		case m.Question != nil:
			if err := w.send(person.answer(ctx, *m.Question)); err != nil {
				return nil, err
			}
		case m.Notice != "" && person.Notice != nil:
			person.Notice(m.Notice)
		}
	}
}

func (p Person) answer(ctx context.Context, q question) answer {
	if p.Ask == nil {
		return answer{Error: "there is nobody to ask"}
	}
	text, err := p.Ask(ctx, q.Text, q.Echo)
	if err != nil {
		return answer{Error: err.Error()}
	}
	return answer{Text: text}
}

const (
	// startPatience is how long a process has that is starting or ending.
	startPatience = 15 * time.Second
	startLook     = 50 * time.Millisecond
)

// CallOrStart is Call where there may be no process yet: then start is called, which starts one. Start returns when the process
// has the place, or sees that another one has it.
func (p Place) CallOrStart(ctx context.Context, r Request, person Person, start func(context.Context) error) (*Reply, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	late := time.Now().Add(startPatience)
	for {
		reply, err := p.call(ctx, r, person)
		if !errors.Is(err, errEnding) && !errors.Is(err, ErrNotRunning) {
			return reply, err
		}
		if time.Now().After(late) {
			return nil, fmt.Errorf("another process is starting or ending all the time: look at %s", p.Dir)
		}
		// Somebody who has the place and doesn't answer begins or ends.
		if free, err := p.free(); err != nil {
			return nil, err
		} else if free {
			err = start(ctx)
			if err != nil {
				return nil, err
			}
			continue
		}
		select {
		case <-time.After(startLook):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// free reports whether nobody has the place.
func (p Place) free() (bool, error) {
	lock, err := p.take()
	if errors.Is(err, errTaken) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, lock.Close()
}
