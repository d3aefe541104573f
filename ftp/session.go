package ftp

import "net/netip"

// Options are what a [Session] must know of its hop. The zero value is the strictest: no
// endpoint address is known, so a 229 with an address in it is refused, and every
// data port from 1024 serves.
type Options struct {
	// Peer is the address of the FTP server as it was dialled. If it is not
	// valid, it isn't known here (culvert: the dial was made by the far SSH server).
	Peer netip.Addr

	// Hop is the address that the FTP client sees as its server: in culvert the local
	// address of the accepted control connection, in culvertd the same as Peer. Its family decides
	// which of PASV, EPSV 1 and EPSV 2 this hop can do.
	Hop netip.Addr

	// Client is the address of the FTP client, as the control connection came in. PORT and EPRT must
	// name it. If it is not valid, it isn't known here (culvertd: the control connection came in at the far SSH client), and none is
	// right; but ActiveForwarded then takes any, which nobody connects to: it is a name that the SSH client will know.
	Client netip.Addr

	// ForeignAddress reports whether a server may announce this address besides its own
	// (FTPDataAddress). If nil, no other address gets through: the endpoint is always at
	// Peer, whatever was announced.
	ForeignAddress func(netip.Addr) bool

	// Access says which commands pass.
	Access Access
	// AccessRule is the line that says it, for the record.
	AccessRule string

	// Paths is asked about each path that a command names, before the command goes to the server; it must depend on its argument alone.
	// For it the session follows the working directory, which it asks the server for. If nil, every path passes.
	Paths func(PathRequest) PathDecision

	// Measures has the session say what is known of the size of each file on its way (see Measured).
	Measures bool

	// Request is what the number of a refusal begins with.
	Request string

	// Active says what becomes of PORT and EPRT.
	Active Active

	// HoldSuccess has the driver asked about the success of each transfer before the client hears of it, and not only of those in active mode: for a way
	// to the client on which a loss looks like the end of a file (see Ending).
	HoldSuccess bool

	// Said are commands that the client has said to somebody else, a proxy, and that are said to the server before anything that comes from the client: USER, or
	// USER and PASS, and perhaps one more. The client waits for one reply to all of them. If empty, it waits for the greeting.
	Said []string

	// Means returns what the server hears as the argument of a USER, OPEN, SITE or CWD that the client sends with this one, or else the reply that the
	// client gets here. It must depend on its arguments alone. If nil, the server hears the argument. Of Said, it hears what is there.
	Means func(verb, arg string) (meant, refusal string)

	// TLS says whether the session is to speak TLS to the server. The client is spoken to in the clear, whatever it is.
	TLS TLS

	// Opaque lets the client begin TLS with the server itself (AUTH), after which neither side is read. It counts only if TLS is TLSOff, and if
	// Access is ReadWrite and Paths nil, as nothing can be kept to them then.
	Opaque bool

	// WithoutTLS is what a client is told to do about a server that takes no TLS, where it is required: words
	// that end a sentence. If empty, there are some.
	WithoutTLS string
}

// Active is what becomes of active mode, in which the server connects to the client.
type Active int

const (
	// ActiveRefused answers PORT and EPRT by 502.
	ActiveRefused Active = iota
	// ActiveTranslated turns them into EPSV or PASV towards the server: the driver makes both connections of a transfer.
	ActiveTranslated
	// ActiveForwarded has the server connect to the driver, which passes the connection on: for a server that has no passive mode.
	// It serves clients in active mode, and those in passive mode once the server has refused them that.
	ActiveForwarded
)

// TLS is whether the server is spoken to by TLS (RFC 4217).
type TLS int

const (
	TLSOff      TLS = iota // never, and AUTH is answered by 502
	TLSPrefer              // if the server takes AUTH TLS
	TLSRequire             // a server that doesn't take it isn't spoken to
	TLSImplicit            // from the first byte on, as on port 990; the driver has begun it before the session
)

// Access is what an FTP client may do (FTPAccess in sshd_config).
type Access int

const (
	ReadWrite Access = iota // every command that the protocol rules let pass
	ReadOnly                // nothing that changes anything on the server
	ListOnly                // ReadOnly without the contents of files
)

// Mode is the command that asked for an endpoint.
type Mode int

const (
	PASV Mode = iota // RFC 959, section 4.1.2; the client is answered by 227
	EPSV             // RFC 2428, section 3; the client is answered by 229
	PORT             // RFC 959, section 4.1.2; the client is answered by 200
	EPRT             // RFC 2428, section 2; the client is answered by 200
)

// Endpoint is one data connection to come. It has two sides, and on each of them one waits and the other connects:
//
//	client  PASV, EPSV: it connects to what [Session.Announced] is told; PORT, EPRT: it waits at Client
//	server  it waits at Addr and Port; or, if Listening is set, it connects to what [Session.Listening] was told
type Endpoint struct {
	Mode Mode // what the client asked for

	// Client is where the client waits, if Mode is PORT or EPRT. Its address is Options.Client, if that is known.
	Client netip.AddrPort

	// Listening says that the server connects, to where the driver listens since the last Listen.
	Listening bool

	// Protected says that the server speaks TLS on the data connection, as the client of it (RFC 4217, section 7).
	Protected bool

	// Addr is where to dial: Options.Peer, or an address that ForeignAddress let
	// through. It is not valid if Peer isn't known.
	Addr netip.Addr
	Port uint16

	// Announced is the address that the reply named; not valid for a 229 without
	// one. It is not to be believed; it is here for the log.
	Announced netip.Addr

	// Reply is the first line of the reply as it came, without its line end.
	Reply string
}

// An Effect is something that the driver of a [Session] must do, in the order
// given.
type Effect interface{ effect() }

// ToServer are bytes to be written to the FTP server.
type ToServer struct{ Data []byte }

// ToClient are bytes to be written to the FTP client.
type ToClient struct{ Data []byte }

// Announce says that the server waits for a data connection at Endpoint. The driver makes
// it reachable and then calls [Session.Announced] or [Session.Refused]; until
// then the session has no further effects, and the reply is not sent on.
// Announce is therefore always the last effect of a batch.
type Announce struct{ Endpoint Endpoint }

// Listen asks the driver to wait for one connection from the server, which will be told by PORT or EPRT where. The driver then
// calls [Session.Listening] or [Session.Refused]; until then the session has no further effects. Listen is therefore always
// the last effect of a batch. If the server agrees, an Announce follows, with Listening set; if not, a Cancel.
type Listen struct {
	Mode   Mode           // what the client asked for
	Client netip.AddrPort // where it waits, if that is PORT or EPRT
}

// Beginning says that the first reply to a transfer goes to the client next, preliminary or not, and the transfer has not
// failed. A client in active mode is connected to now, as by a server: one that is told of a failure without has nobody in its queue.
type Beginning struct{}

// Ending says that the server takes a transfer for complete, and that its client is in active mode, or Options.HoldSuccess is set. The driver calls
// [Session.Ended], or [Session.Refused] if the client has no part in it, or not the whole: then it is told of a failure, whatever the server has made of
// it. Until then the session has no further effects. Ending is therefore always the last effect of a batch.
type Ending struct{}

// StartTLS says that the server waits for a TLS handshake (RFC 4217, section 4). The driver does it and then calls [Session.Secured] or
// [Session.Unsecured]; until then the session has no further effects. StartTLS is therefore always the last effect of a batch.
type StartTLS struct{}

// Unread says that the server has agreed to the client's AUTH, so that nothing can be read from now on. The driver makes ready for data connections that
// nobody announces, and then calls [Session.Unreading] or [Session.Refused]; until then the session has no further effects. Unread is therefore always
// the last effect of a batch.
type Unread struct{}

// PassOn says that both directions are passed on as they are, from the next byte on. It is the last effect there is, as Close is.
type PassOn struct{}

// Cancel withdraws the endpoint announced last. A data connection that
// was already accepted, or an endpoint that was already used, lives on.
type Cancel struct{ Reason string }

// ServerEOF says that nothing more will be written to the server: the client
// ended its side (see [Session.ClientClosed]) and everything that it had sent has gone out.
type ServerEOF struct{}

// Note is something for the log or the audit that has no other effect.
type Note struct {
	Kind NoteKind
	Text string // chosen text followed by what the peer sent, quoted with %q
}

// Transferring says that a transfer command goes to the server next. Its Answered says how it ended.
type Transferring struct {
	Command Command
	Block   bool // MODE B or C: the data connection may serve further transfers
}

// Measured says what is known of the file of a transfer when its first reply goes to the client next; it comes before Beginning. There is one for
// each transfer that begins, if Options.Measures is set. A peer may say what it likes: it is for people to look at.
type Measured struct {
	Name   string // of the file, escaped, if the server has chosen it (STOU)
	Offset int64  // where in the file the transfer begins (REST); that of APPE isn't known
	Size   int64  // of the whole file; of APPE, of what is appended; 0 if it isn't known
	Coded  bool   // what passes on the data connection is not the bytes of the file (MODE Z, B, C)
}

// Answered says that the final reply to a command goes to the client next.
type Answered struct {
	Command Command
	Code    int  // of that reply; 0 if one reply answered this command and another
	Here    bool // the server never saw the command
	Aborted bool // an ABOR was sent during it
	Refusal Refusal
}

// Close ends the session once the effects before it are done. It is the last effect
// there is; after it, the session has none and takes no more bytes.
type Close struct {
	Reason string // for the log; the client was told what it should know
}

func (ToServer) effect()     {}
func (ToClient) effect()     {}
func (Announce) effect()     {}
func (Listen) effect()       {}
func (Beginning) effect()    {}
func (Ending) effect()       {}
func (StartTLS) effect()     {}
func (Unread) effect()       {}
func (PassOn) effect()       {}
func (Cancel) effect()       {}
func (ServerEOF) effect()    {}
func (Note) effect()         {}
func (Transferring) effect() {}
func (Measured) effect()     {}
func (Answered) effect()     {}
func (Close) effect()        {}

// NoteKind classifies a [Note].
type NoteKind int

const (
	NoteMismatch    NoteKind = iota // the announced address is not the peer; the peer's is used
	NoteRefused                     // a command or an endpoint was refused here
	NoteUnsolicited                 // a reply that nobody asked for was dropped
	NoteTelnet                      // a Telnet sequence was removed
	NoteMalformed                   // bytes that the grammar forbids were replaced or dropped
	NoteClear                       // TLS is preferred, and the server takes none
	NoteProtected                   // the server is spoken to by TLS, on its data connections too
	NoteLogin                       // the server accepted a login; Text is the user name, escaped
	NoteWantsTLS                    // the server refuses to go on without TLS, which Options.TLS rules out
)
