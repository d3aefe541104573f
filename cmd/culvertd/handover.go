package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/culvert-ssh/culvert/audit"
)

// handoverTime is how long a process that takes over may need until it is ready.
const handoverTime = 30 * time.Second

var errDrainTimeout = errors.New("DrainTimeout is over")

// heir is the process that takes over.
type heir struct {
	cmd   *exec.Cmd
	line  *net.UnixConn
	files inheritance // in case that it fails
	late  *time.Timer // kills it
	ready bool        // and accepts

	passedOn bool // what it had, to an heir of its own
}

// What an heir says.
const (
	wordReady     = "ready"
	wordReload    = "reload"
	wordPassedOn  = "passed on"
	wordTakenBack = "taken back"
)

// message is what an heir says. If err is set, it has ended.
type message struct {
	of  *heir
	say string
	err error
}

// errEnded is an heir's end that somebody asked it for.
var errEnded = errors.New("it has ended as it was asked to")

// handOver starts the program again, whatever its file holds by now, and gives it the sockets. Until the heir says that it is ready, nothing
// else changes.
func (d *daemon) handOver() {
	if d.heir != nil {
		d.log.Warn("SIGUSR2 does nothing: another process takes over already", "pid", d.heir.cmd.Process.Pid)
		return
	}
	h, err := d.newHeir()
	if err != nil {
		d.log.Error("nobody takes over; going on", "err", err)
		return
	}
	d.log.Info("starting the process that takes over", "pid", h.cmd.Process.Pid, "path", h.cmd.Path)
	d.heir = h
	go h.listen(d.words, d.done) // ends with the heir, or this process
}

func (d *daemon) newHeir() (*heir, error) {
	ours, theirs, err := newLine()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	files, err := d.sockets.files()
	if err != nil {
		return nil, errors.Join(err, ours.Close())
	}
	cmd := exec.Command(d.executable, d.options.args...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = environment(os.Environ(), files)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = nil, d.stdout, d.stderr
	cmd.ExtraFiles = append(append(cmd.ExtraFiles, files...), theirs)
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(err, files.close(), ours.Close())
	}
	h := &heir{cmd: cmd, line: ours, files: files}
	h.late = time.AfterFunc(handoverTime, h.kill)
	return h, nil
}

// newLine returns the two ends of a line between two processes.
func newLine() (ours *net.UnixConn, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	theirs = os.NewFile(uintptr(fds[1]), "line")
	f := os.NewFile(uintptr(fds[0]), "line")
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, nil, errors.Join(err, theirs.Close())
	}
	return c.(*net.UnixConn), theirs, nil
}

// lastWords is how long what an heir that has ended has said may take to be read. A process that it has left behind may keep the line open.
const lastWords = 100 * time.Millisecond

// listen passes on what the heir says until it has ended, or done is closed.
func (h *heir) listen(words chan<- message, done <-chan struct{}) {
	say := func(w message) {
		select {
		case words <- w:
		case <-done:
		}
	}
	ended := make(chan error, 1)
	go func() {
		err := h.cmd.Wait()
		_ = h.line.SetReadDeadline(time.Now().Add(lastWords)) // fails if it is closed, and read no more
		ended <- err
	}()
	for read := bufio.NewScanner(h.line); read.Scan(); {
		say(message{of: h, say: read.Text()})
	}
	err := <-ended
	if err == nil {
		err = errEnded
	}
	say(message{of: h, err: err})
}

func (h *heir) kill() { _ = h.cmd.Process.Kill() } // if it has ended, all the better

// heard does what follows from an heir's word. An error ends this process as well.
func (d *daemon) heard(w message) error {
	pid := w.of.cmd.Process.Pid
	switch {
	case w.err != nil && !w.of.ready:
		d.drop(w.of)
		d.log.Error("nobody takes over; going on", "pid", pid, "err", w.err)
		d.reloadPostponed()
	case errors.Is(w.err, errEnded):
		d.log.Info("the process that took over has ended", "pid", pid)
		w.of.release()
	case w.err != nil && w.of.passedOn:
		d.log.Error("the process that took over, and then passed on what it had, has failed: only SIGHUP to this one reloads it", "pid", pid, "err", w.err)
		w.of.release()
	case w.err != nil:
		return d.takeBack(w.of, w.err)
	case w.say == wordReady && !w.of.ready:
		d.stepBack(w.of)
		if d.postponed {
			_ = w.of.cmd.Process.Signal(syscall.SIGHUP) // it may have read what was there before
		}
		d.reloadPostponed()
	case w.say == wordPassedOn, w.say == wordTakenBack:
		w.of.passedOn = w.say == wordPassedOn
	case w.say == wordReload:
		d.reload()
	default:
		d.log.Warn("the process that takes over says something unknown", "pid", pid, "word", w.say)
	}
	return nil
}

// release gives up the sockets that were kept in case that the heir fails.
func (h *heir) release() {
	_ = h.files.close() // whoever serves them has them
	h.files = nil
}

// drop forgets an heir that has ended.
func (d *daemon) drop(h *heir) {
	h.late.Stop()
	_ = h.line.Close()
	_ = h.files.close()
	d.heir = nil
}

// stepBack leaves the sockets to the heir; from here on, this process drains.
func (d *daemon) stepBack(h *heir) {
	h.late.Stop()
	h.ready = true
	d.main.Store(false)
	d.sockets.close() // what comes now waits in the sockets for the heir
	d.serving.Wait()
	d.sockets = nil
	d.pid = pidFile{} // the heir writes its own number there
	d.stepAside()
	pid := h.cmd.Process.Pid
	d.notify(fmt.Sprintf("MAINPID=%d", pid))
	d.before.tell(wordPassedOn) // if this process fails now, there is nothing to be taken back
	left := legacy{LastConnection: d.srv.LastID(), UsedCodes: d.who.LeaveCodes()}
	if err := left.leave(h.line); err != nil {
		d.log.Error("the process that takes over isn't told so", "pid", pid, "err", err)
		h.kill() // that it has ended is the next that is heard of it
	}
	d.log.Info("another process has taken over; draining", "pid", pid)
	d.put(audit.Server{Action: "handover", Detail: fmt.Sprintf("to process %d", pid)})
	d.drain()
}

// drain waits for the last connection to end, or DrainTimeout, and then says so to the loop. The process before this one must have
// ended as well: it hears of a reload from this one alone.
func (d *daemon) drain() {
	ctx, cancel := context.WithCancelCause(context.Background())
	d.stopDrain = cancel
	if limit := d.current.Load().global.DrainTimeout; limit > 0 {
		timer := time.AfterFunc(limit, func() { cancel(errDrainTimeout) })
		context.AfterFunc(ctx, func() { timer.Stop() })
	}
	d.serving.Go(func() {
		err := d.srv.Drain(ctx)
		if err == nil && d.before != nil {
			select {
			case <-d.before.ended:
			case <-ctx.Done():
				err = context.Cause(ctx)
			}
		}
		d.drained <- err
	})
}

// takeBack serves again, since the process that had taken over has failed.
func (d *daemon) takeBack(h *heir, why error) error {
	pid := h.cmd.Process.Pid
	d.log.Error("the process that took over has failed; serving again", "pid", pid, "err", why)
	d.before.tell(wordTakenBack)
	d.put(audit.Server{Action: "handover", Detail: fmt.Sprintf("taken back, as process %d has failed: %v", pid, why)})
	d.stopDrain(errors.New("serving again"))
	<-d.drained
	d.stopDrain = nil
	held, err := h.files.listeners(true)
	d.drop(h)
	if err != nil {
		return err
	}
	if d.sockets, err = listen(d.current.Load().global.ListenAddress, held, d.log); err != nil {
		return err
	}
	// The dead one has numbered connections in the same audit log; nobody knows how many.
	d.srv.ContinueAfter(d.srv.LastID() + 1_000_000)
	d.who.TakeCodesBack()
	if err := d.oversee(); err != nil {
		d.log.Error("nobody can look at this process", "err", err)
	}
	d.lead()
	return nil
}

// put puts an event on record of which nothing depends.
func (d *daemon) put(e audit.Event) {
	if err := d.events.Write(e); err != nil {
		d.log.Error("an event is not on record", "event", e.EventName(), "err", err)
	}
}

// executable returns the path by which this program, which was started as named, is started again: the same, so that a link leads to
// what it names by then.
func executable(named string) (string, error) {
	running, err := os.Executable()
	if err != nil {
		return "", err
	}
	if named, err = exec.LookPath(named); err != nil {
		return running, nil
	}
	if named, err = filepath.Abs(named); err != nil {
		return running, nil
	}
	a, errA := os.Stat(running)
	b, errB := os.Stat(named)
	if errA != nil || errB != nil || !os.SameFile(a, b) {
		return running, nil
	}
	return named, nil
}
