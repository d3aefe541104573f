// Package control drives one FTP control connection: it reads both sides, feeds the state
// machine of package ftp, and carries out its effects in one goroutine. What is done
// about an announced endpoint is its caller's: a listener in culvert, an expectation in culvertd.
package control

import (
	"context"
	"log/slog"
	"net/netip"

	"github.com/culvert-ssh/culvert/ftp"
	"github.com/culvert-ssh/culvert/relay"
)

// Endpoints makes announced endpoints reachable. Its methods are called from the one
// goroutine of Run, and nothing is forwarded while they run.
type Endpoints interface {
	// Open makes e reachable for the FTP client and returns the address to be announced to it; if the client
	// is in active mode, the address means nothing.
	// If it fails, the client is told 425 (to PASV), 500 (to EPSV) or 502 (to PORT and EPRT), and the error comes back in a Note.
	// It must return soon after ctx is done.
	Open(ctx context.Context, e ftp.Endpoint) (netip.AddrPort, error)

	// Listen begins to wait for one data connection of the FTP server, and returns the address that the server is told by PORT or
	// EPRT. If the server agrees, Open follows, with Listening set in what it is given; if not, Cancel. If Listen fails,
	// the client is told as if Open had failed. It must return soon after ctx is done.
	Listen(ctx context.Context, l ftp.Listen) (netip.AddrPort, error)

	// Begin is called before the client hears that a transfer begins, or of its success if it hears nothing before
	// that (RFC 959, section 4.2.1): from then on it may send all that it has and close the data connection. A client in
	// active mode is connected to here. It must return soon, whatever happens.
	Begin(ctx context.Context)

	// End is called when the server takes a transfer for complete, before the client hears so: of each if ftp.Options.HoldSuccess is set, otherwise of those
	// whose client is in active mode. If nobody has connected to the client, or the data has not arrived, it returns an error, and the client is told
	// 426. It must return soon after ctx is done.
	End(ctx context.Context) error

	// Cancel withdraws the endpoint opened or listened for last, if it is still unused.
	Cancel(reason string)
}

// Recorder is told what goes on record. Its methods are called from the one goroutine of Run, before what they tell of goes to the
// server or to the client, and nothing is forwarded while they run.
type Recorder interface {
	// Transferring is told of a transfer that begins.
	Transferring(ftp.Transferring)
	// Answered is told of every command when it has its final reply. A Code of 0 says that none came: also of those that
	// were still without one when the session ended.
	Answered(ftp.Answered)
}

// Config is what Run needs. Client, Server, Session and Endpoints are required.
type Config struct {
	Client, Server relay.Stream
	Session        *ftp.Session
	Endpoints      Endpoints

	// StartTLS begins TLS on the stream to the server, and returns what takes its place: aborting the one aborts the other.
	// If it fails, the client is told why. It must return soon after ctx is done, which is HandshakeTimeout after the server has
	// agreed at the latest; nothing is read from the stream meanwhile. If nil, there is no TLS.
	StartTLS func(ctx context.Context, server relay.Stream) (relay.Stream, error)

	// Opaque makes ready for data connections that nobody announces, before the client hears that the server has agreed to TLS with it:
	// from then on nobody is read. If it fails, the session ends. It must return soon after ctx is done. If nil, there is no such thing.
	Opaque func(ctx context.Context) error

	// Farewell returns what the client is told, behind a 421, about the error by which the session ends for another reason than the
	// protocol: one printable line, or nothing if it is to be reset. It isn't asked about a session that nobody reads. If nil, every such client is reset.
	Farewell func(error) string

	// Record is told what goes on record. If nil, nobody is.
	Record Recorder
	// Measured is told what is known of the file of a transfer that begins, if ftp.Options.Measures is set, and before the client hears so. If nil,
	// nobody is.
	Measured func(ftp.Measured)
	// Note is told of what the state machine found worth noting. If nil, Log is.
	Note func(ftp.Note)
	// Dialogue is told every line of both sides, and what goes on instead of it, in the goroutine of Run. If nil, nobody is, and nothing
	// is done for it.
	Dialogue func(Line)
	// Log is told how the session went. If nil, nobody is.
	Log *slog.Logger
	// Count, if not nil, counts the bytes: A is the client, B the server.
	Count *relay.Counters
}
