package channels

import (
	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/audit"
)

// Sockets in the file system are those of the bastion itself, where a user has no business. OpenSSH's extension
// for them (PROTOCOL, section 2.4) is refused, and put on record as what it is.

const noStreamlocal = "forwarding of Unix sockets is not offered"

// directStreamlocal is the extra data of a direct-streamlocal@openssh.com channel open.
type directStreamlocal struct {
	Path      string
	Reserved1 string
	Reserved2 uint32
}

func (c *Conn) refuseStreamlocal(nc ssh.NewChannel) {
	var m directStreamlocal
	_ = ssh.Unmarshal(nc.ExtraData(), &m) // it is refused whatever it is
	c.refuse(nc, refusal{code: ssh.Prohibited, text: noStreamlocal, target: bounded(m.Path), reason: noStreamlocal})
}

func (c *Conn) refuseStreamlocalForward(r *ssh.Request) {
	var m struct{ Path string }
	_ = ssh.Unmarshal(r.Payload, &m) // it is refused whatever it is
	c.record(audit.ListenRefused{Conn: c.cfg.ID, Request: c.nextRequest(), Target: bounded(m.Path), Reason: noStreamlocal})
}

// bounded is as much of s as an audit event shows.
func bounded(s string) string { return s[:min(len(s), maxHostLength)] }
