package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/culvert-ssh/culvert/relay"
)

// RunStdio connects to the bastion, carries in and out to cfg.Stdio, and returns nil when both directions have ended in order. A part that was
// read from in when the connection ends is lost; what is written to out is all that has come, and whole if the error is nil. That ctx is done
// before is an error as any other, its cause: who reads out can tell an end from a cut by nothing else.
//
// A read of in and a write to out can't be interrupted, and may go on when RunStdio has returned.
func RunStdio(ctx context.Context, cfg *Config, in io.Reader, out io.WriteCloser) error {
	if cfg.Host == "" || cfg.Stdio == nil {
		return errors.New("a destination and what to carry are needed")
	}
	up, err := connectUplink(ctx, cfg)
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return err
	}
	defer up.Close()
	remote, err := cfg.Stdio.open(ctx, up, unknownOrigin)
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return err
	}
	if cfg.Ready != nil {
		cfg.Ready()
	}
	var count relay.Counters
	joined := make(chan error, 1)
	go func() { joined <- relay.Join(ctx, newPipes(in, out), remote, &count) }()
	err = joinedOrLost(ctx, up, joined)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case hasEnded(up):
		return lostError(up)
	}
	return fmt.Errorf("%s: cut short after %d bytes to it and %d from it: %w", cfg.Stdio.Target(), count.AToB.Load(), count.BToA.Load(), err)
}

// joinedOrLost waits for the end of a Join; but where it must end, not for whoever doesn't read what is written to out.
func joinedOrLost(ctx context.Context, up uplink, joined <-chan error) error {
	select {
	case err := <-joined:
		if errors.Is(err, relay.ErrTransportLost) {
			await(ctx, up.Done()) // which knows why, and may not have said so yet
		}
		return err
	case <-ctx.Done():
	case <-up.Done():
	}
	late := time.NewTimer(partingTimeout)
	defer late.Stop()
	select {
	case err := <-joined:
		return err
	case <-late.C:
		return relay.ErrAborted
	}
}

// pipes are standard input and output as a relay.Stream. They know no reset: who reads them goes by the exit status.
type pipes struct {
	*io.PipeReader // what is read from in
	out            io.WriteCloser
}

func newPipes(in io.Reader, out io.WriteCloser) *pipes {
	read, write := io.Pipe()
	go func() { // ends with in, or, after an abort, with the next thing that comes of it
		_, err := io.Copy(write, in)
		_ = write.CloseWithError(err) // without one, it is the end
	}()
	return &pipes{read, out}
}

func (p *pipes) Write(b []byte) (int, error) { return p.out.Write(b) }

// CloseWrite ends the output.
func (p *pipes) CloseWrite() error { return p.out.Close() }

// Close has nothing to do: both ends were met.
func (p *pipes) Close() error { return nil }

// Abort ends what is read. A write that nobody reads isn't interrupted by anything.
func (p *pipes) Abort() { _ = p.PipeReader.CloseWithError(relay.ErrAborted) }
