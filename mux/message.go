package mux

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"golang.org/x/crypto/ssh"
)

// protocolVersion is the version of the protocol that all of OpenSSH's masters speak since 2010.
const protocolVersion = 4

// The messages of PROTOCOL.mux that are used here.
const (
	msgHello = 0x00000001

	askAlive     = 0x10000004
	askTerminate = 0x10000005
	askForward   = 0x10000006
	askCancel    = 0x10000007
	askStdio     = 0x10000008

	sayOK      = 0x80000001
	sayDenied  = 0x80000002
	sayFailure = 0x80000003
	sayAlive   = 0x80000005
	sayOpened  = 0x80000006
	sayPort    = 0x80000007
)

// maxMessage bounds what a master may say at once: numbers and short texts.
const maxMessage = 64 << 10

// writeMessage sends a message: its length and then itself.
func writeMessage(w io.Writer, m []byte) error {
	_, err := w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(m))), m...))
	return err
}

func readMessage(r io.Reader) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > maxMessage {
		return nil, fmt.Errorf("a message of %d bytes is too long", n)
	}
	m := make([]byte, n)
	_, err := io.ReadFull(r, m)
	return m, err
}

// hello is how both sides begin. What follows the version are extensions, of which there are none.
type hello struct {
	Kind    uint32
	Version uint32
	Rest    []byte `ssh:"rest"`
}

// checkHello returns an error if m is no hello of a master that is understood.
func checkHello(m []byte) error {
	var h hello
	if err := ssh.Unmarshal(m, &h); err != nil || h.Kind != msgHello {
		return errors.New("what answers there is no ssh")
	}
	if h.Version != protocolVersion {
		return fmt.Errorf("it speaks version %d of the protocol, not %d", h.Version, protocolVersion)
	}
	return nil
}

// request is a question to a master, whose form depends on its kind.
type request struct {
	Kind uint32
	ID   uint32
	Body []byte `ssh:"rest"`
}

// forwarding is the body of askForward and askCancel.
type forwarding struct {
	Kind        uint32
	ListenHost  string
	ListenPort  uint32
	ConnectHost string
	ConnectPort uint32
}

const (
	forwardRemote = 2
	unixSocket    = 0xfffffffe // in the place of a port: the host is a path
)

// stdio is the body of askStdio; two file descriptors follow it.
type stdio struct {
	Reserved string
	Host     string
	Port     uint32
}

// answer is what a master says to a request.
type answer struct {
	kind   uint32
	id     uint32 // of the request
	number uint32 // of sayAlive: its process; of sayOpened: a session; of sayPort: a port
	text   string // of sayDenied and sayFailure: why
}

func parseAnswer(m []byte) (a answer, err error) {
	var head struct {
		Kind, ID uint32
		Rest     []byte `ssh:"rest"`
	}
	if err := ssh.Unmarshal(m, &head); err != nil {
		return a, errors.New("an answer is too short")
	}
	a.kind, a.id = head.Kind, head.ID
	switch a.kind {
	case sayOK:
		if len(head.Rest) > 0 {
			err = errors.New("more than is expected")
		}
	case sayDenied, sayFailure:
		var m struct{ Text string }
		err = ssh.Unmarshal(head.Rest, &m)
		a.text = m.Text
	case sayAlive, sayOpened, sayPort:
		var m struct{ Number uint32 }
		err = ssh.Unmarshal(head.Rest, &m)
		a.number = m.Number
	default:
		return a, fmt.Errorf("an answer of the unknown kind %#x", a.kind)
	}
	if err != nil {
		return a, fmt.Errorf("an answer of kind %#x is malformed", a.kind)
	}
	return a, nil
}
