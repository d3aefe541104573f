// Package stripe carries one byte stream over several SSH channels, which may be of several connections.
//
// It knows the one channel that a stream began on, its primary, and those that were attached to it, its stripes, and what is said on them:
// docs/protocol.md, section stripes@culvert. It opens no channel and makes no connection, and decides neither when a stream
// is to have stripes nor whose they may be.
package stripe

import (
	"crypto/rand"
	"fmt"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/relay"
)

// Request is the name of the global request that negotiates stripes, and of the channel request by which a stream gets its token.
const Request = "stripes@culvert"

// ChannelType is the type of the channels that are stripes. Their extra data is [Open].
const ChannelType = "stripe@culvert"

// Max is how many stripes a stream has at most.
const Max = 16

// MaxStreams is how many streams of one SSH connection may have stripes at once. Each may hold 2 MiB in either direction of what came too early or
// wasn't taken yet, and more out of the budget; whoever has more streams than these is fast enough without.
const MaxStreams = 16

// Token names one stream to whoever attaches stripes to it. Nobody else can guess it.
type Token [32]byte

// NewToken returns a token that was never used.
func NewToken() Token {
	var t Token
	_, _ = rand.Read(t[:]) // which never fails
	return t
}

// Open is the extra data of the open of a stripe, and the payload of the channel request.
type Open struct {
	Token []byte
}

// ParseToken reads the payload that is an [Open].
func ParseToken(payload []byte) (Token, error) {
	var m Open
	if err := ssh.Unmarshal(payload, &m); err != nil {
		return Token{}, fmt.Errorf("parse the token of a stream: %w", err)
	}
	if len(m.Token) != len(Token{}) {
		return Token{}, fmt.Errorf("the token of a stream has %d bytes, not %d", len(m.Token), len(Token{}))
	}
	return Token(m.Token), nil
}

// Payload returns the [Open] of t.
func (t Token) Payload() []byte { return ssh.Marshal(Open{t[:]}) }

// Config says what is known about a stream.
type Config struct {
	// ChannelConfig is of the SSH connection under the primary channel. Without EndOfData there are no stripes. Its Extension is New's.
	relay.ChannelConfig

	// Ask is whether the peer, who asks for it, may attach stripes to this stream by the token. It is called once at most, and
	// nothing else happens on the SSH connection until it returns. If nil, the peer may not.
	Ask func(Token) bool

	// Crossed is called once, in a goroutine of its own, when After bytes have gone in one direction. If nil, nobody is.
	Crossed func(*Stream)
	After   int64

	// Moved is told how many bytes have gone in either direction since it was told last, from Crossed on: as they are read and written, and over stripes when
	// they were handed on. It may be called by several goroutines at once, and must return soon. If nil, nobody is.
	Moved func(bytes uint64)

	// Share is what the stream may hold beyond its first 2 MiB in each direction, together with others of its SSH connection. If nil, that is nothing.
	Share *Share
}
