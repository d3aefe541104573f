package channels

import (
	"errors"
	"sync"
	"time"

	"github.com/culvert-ssh/culvert/audit"
	"github.com/culvert-ssh/culvert/ftp"
)

// transfers puts the commands and transfers of one FTP control channel on record. A transfer is known by two things that come
// in any order, from two goroutines: its final reply, and the end of its data channel.
type transfers struct {
	f *ftpControl

	mu      sync.Mutex
	latest  *dataUse    // of the last announcement
	running []*transfer // without a final reply, in the order of the commands
}

// transfer is one transfer command on its way.
type transfer struct {
	command ftp.Command
	block   bool // others may use the same data connection
	began   time.Time
	use     *dataUse
	code    int
	aborted bool // an ABOR was sent during it
}

// dataUse is what became of one announced endpoint.
type dataUse struct {
	request string  // of the data channel; empty as long as there is none
	coming  bool    // the server has connected, and waits for the data channel
	stream  *stream // it, once it is open
	ended   bool
	err     error
	told    int64       // bytes of it that are on record, in both directions
	waiting []*transfer // have their final reply, and wait for the end of the channel
}

// announced begins a new use: transfers that begin from now on belong to it.
func (t *transfers) announced(u *dataUse) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.latest = u
}

// connected says that the server has connected. Its caller must call gone if no data channel takes that up.
func (t *transfers) connected(u *dataUse) {
	t.mu.Lock()
	defer t.mu.Unlock()
	u.coming = true
}

// gone says that the server's connection was reset before a data channel took it up.
func (t *transfers) gone(u *dataUse) {
	t.mu.Lock()
	defer t.mu.Unlock()
	u.coming = false
	if u.request == "" {
		t.settle(u)
	}
}

// Transferring takes down that a transfer begins.
func (t *transfers) Transferring(e ftp.Transferring) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.running = append(t.running, &transfer{command: e.Command, block: e.Block, began: t.f.cfg.Now(), use: t.latest})
}

// Answered puts a command on record. A client that sends them faster than [commandRate] waits here, and is not read meanwhile.
func (t *transfers) Answered(e ftp.Answered) {
	_ = t.f.commanding.Wait(t.f.Conn.ctx) // if the connection has ended, there is nobody to be slowed down
	if e.Here || e.Command.Direction() == "" {
		by := "server"
		if e.Here {
			by = "bastion"
		}
		t.f.record(audit.FTPCommand{
			Conn: t.f.cfg.ID, Control: t.f.request, Command: e.Command.Verb, Class: string(e.Command.Class),
			Path: e.Command.Path, Code: e.Code, By: by,
			Number: e.Refusal.Number, Resolved: e.Refusal.Path, Rule: e.Refusal.Rule, Reason: e.Refusal.Reason,
		})
		return
	}
	t.f.transferred()
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.running) == 0 { // which the state machine doesn't do
		return
	}
	x := t.running[0]
	t.running = t.running[1:]
	x.code, x.aborted = e.Code, e.Aborted
	if x.use != nil && (x.use.request != "" || x.use.coming) && !x.use.ended && !x.block {
		x.use.waiting = append(x.use.waiting, x)
		return
	}
	t.tell(x)
}

// consumed says that a data channel takes up an announced endpoint. Its caller must call ended, or unused.
func (t *transfers) consumed(u *dataUse, request string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	u.request = request
}

// opened gives the data channel.
func (t *transfers) opened(u *dataUse, s *stream) {
	t.mu.Lock()
	defer t.mu.Unlock()
	u.stream = s
}

// unused says that the data channel could not be opened. Another one may take up the endpoint.
func (t *transfers) unused(u *dataUse) {
	t.mu.Lock()
	defer t.mu.Unlock()
	u.request = ""
	t.settle(u)
}

// ended says that the data channel has ended.
func (t *transfers) ended(u *dataUse, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	u.ended, u.err = true, err
	t.settle(u)
}

// settle puts on record what waited for the end of a data channel. It needs t.mu.
func (t *transfers) settle(u *dataUse) {
	for _, x := range u.waiting {
		t.tell(x)
	}
	u.waiting = nil
}

// tell puts a transfer on record. It needs t.mu.
func (t *transfers) tell(x *transfer) {
	e := audit.FTPTransfer{
		Conn: t.f.cfg.ID, Control: t.f.request, Command: x.command.Verb, Direction: string(x.command.Direction()),
		Path: x.command.Path, Seconds: t.f.cfg.Now().Sub(x.began).Seconds(), Code: x.code,
	}
	if x.use != nil {
		e.Request = x.use.request
		e.Bytes = x.use.take(x.command.Direction())
		e.Protection = x.use.protection(t.f.upstream)
	}
	e.Result, e.Reason = x.result()
	t.f.record(e)
}

// take returns the bytes that went in a direction and are not on record yet.
func (u *dataUse) take(d ftp.Direction) int64 {
	if u.stream == nil {
		return 0
	}
	n := u.stream.count.BToA.Load()
	if (d == ftp.Upload) != (u.stream.remote != nil) { // then the SSH client is where the server is
		n = u.stream.count.AToB.Load()
	}
	n, u.told = n-u.told, n
	return n
}

// protection says how the server's data connection was protected; nothing if there was none.
func (u *dataUse) protection(up *upstream) string {
	switch {
	case u.stream == nil, u.stream.remote != nil: // to the server of a remote tunnel it is the SSH client's last leg
		return ""
	case u.stream.tls == nil:
		return inTheClear
	}
	return up.protection(u.stream.tls.VersionName())
}

// result says how a transfer ended. It is complete only if the server says so and the data channel didn't break.
func (x *transfer) result() (result, reason string) {
	err := errors.New("no data connection")
	if x.use != nil && x.use.request != "" {
		err = x.use.err
	}
	switch {
	case x.code == 0:
		return "aborted", "the control connection ended without a final reply"
	case x.aborted:
		return "aborted", "the client sent ABOR"
	case x.code == 426: // RFC 959, section 4.2.1: connection closed, transfer aborted
		return "aborted", ""
	case x.code >= 300:
		return "failed", ""
	case err != nil:
		return "aborted", err.Error()
	}
	return "complete", ""
}
