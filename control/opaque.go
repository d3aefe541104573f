package control

import (
	"context"
	"errors"

	"github.com/culvert-ssh/culvert/relay"
)

// errPassOn is the end of a session whose two sides go on without being read.
var errPassOn = errors.New("passed on unread")

func (r *run) unread(ctx context.Context) error {
	if r.Opaque == nil {
		return errors.New("nobody is ready for that")
	}
	return r.Opaque(ctx)
}

// passOn moves the bytes of both sides until they have ended. It owns both.
func (r *run) passOn(ctx context.Context) error {
	client := &unreadStream{Stream: r.Client, reader: r.client}
	server := &unreadStream{Stream: r.Server, reader: r.server}
	return relay.Join(ctx, relay.WithLastWord(client), relay.WithLastWord(server), r.Count)
}

// unreadStream is a stream that a reader may be reading from. What that brings comes first.
type unreadStream struct {
	relay.Stream
	reader *reader
	left   chunk
}

func (u *unreadStream) Read(p []byte) (int, error) {
	if u.reader.asked {
		u.left = <-u.reader.chunks // or its abort
		u.reader.got()
		if u.left.bug != nil {
			panic(u.left.bug)
		}
	}
	if len(u.left.data) > 0 {
		n := copy(p, u.left.data)
		u.left.data = u.left.data[n:]
		return n, nil
	}
	if u.left.err != nil {
		return 0, u.left.err
	}
	return u.Stream.Read(p)
}
