package login

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/culvert-ssh/culvert/sshconfig"
)

const (
	// commandPatience is how long a ProxyCommand may take to end once its pipes are closed and it was hung up on.
	commandPatience = 2 * time.Second

	// lastWords is how long we go on reading what it has said when it has ended.
	lastWords = 100 * time.Millisecond

	// maxSaid bounds a line of what a ProxyCommand says on its standard error, in bytes.
	maxSaid = 4 << 10
)

// commandWay is the standard input and output of a program that leads to the server (ProxyCommand).
type commandWay struct {
	io.ReadCloser  // its standard output
	io.WriteCloser // its standard input
	server         address
	cmd            *exec.Cmd
	ended          chan struct{} // closed when it has ended and all that it said was read
	close          sync.Once

	last string // the last line that it said; valid once ended is closed
	err  error  // how it ended; the same
}

// startCommand runs ProxyCommand in the user's shell, as ssh(1) does.
func startCommand(cfg *Config) (way, error) {
	line, err := cfg.Tokens().Command(cfg.ProxyCommand, false)
	if err != nil {
		return nil, fmt.Errorf("ProxyCommand: %w", err)
	}
	cmd, err := shell(line)
	if err != nil {
		return nil, fmt.Errorf("ProxyCommand: %w", err)
	}
	w := &commandWay{cmd: cmd, server: cfg.address(), ended: make(chan struct{})}
	cfg.Logger().Debug("starting the ProxyCommand", "command", line)
	said, err := w.start()
	if err != nil {
		return nil, fmt.Errorf("run ProxyCommand %q: %w", line, err)
	}
	var heard sync.WaitGroup
	heard.Go(func() { w.last = hear(said, cfg.Tell) })
	go func() { // ends with the program, which Close sees to
		w.err = cmd.Wait()
		// Whatever it has left behind in the background may go on talking.
		_ = said.SetReadDeadline(time.Now().Add(lastWords))
		heard.Wait()
		_ = said.Close()
		close(w.ended)
	}()
	return w, nil
}

// start starts the program on pipes of ours; those of os/exec lose what is unread when it ends.
func (w *commandWay) start() (said *os.File, err error) {
	var ours, theirs [3]*os.File
	for i := range ours {
		if ours[i], theirs[i], err = os.Pipe(); err != nil {
			break
		}
	}
	ours[0], theirs[0] = theirs[0], ours[0] // it reads from the first, and writes to the others
	if err == nil {
		w.cmd.Stdin, w.cmd.Stdout, w.cmd.Stderr = theirs[0], theirs[1], theirs[2]
		err = w.cmd.Start()
	}
	for _, f := range theirs {
		_ = f.Close() // an error where there is none
	}
	if err != nil {
		for _, f := range ours {
			_ = f.Close()
		}
		return nil, err
	}
	w.WriteCloser, w.ReadCloser = ours[0], ours[1]
	return ours[2], nil
}

// hear tells each line of what a program says, and returns the last.
func hear(r io.Reader, tell func(string)) (last string) {
	for lines := bufio.NewReaderSize(r, maxSaid); ; {
		line, err := lines.ReadSlice('\n') // one that is too long comes in parts
		if text := strings.TrimRight(string(line), "\r\n"); text != "" {
			last = sshconfig.Printable(text)
			tell(last)
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return last
		}
	}
}

func (w *commandWay) Read(p []byte) (int, error)  { return w.ReadCloser.Read(p) }
func (w *commandWay) Write(p []byte) (int, error) { return w.WriteCloser.Write(p) }

// Close hangs up on the program, and ends it if that isn't enough.
func (w *commandWay) Close() error {
	w.close.Do(func() {
		_ = w.WriteCloser.Close() // a program that has ended already serves as well
		_ = w.ReadCloser.Close()
		hangUp(w.cmd.Process)
		late := time.AfterFunc(commandPatience, func() { _ = w.cmd.Process.Kill() })
		go func() { // ends with the program
			<-w.ended
			late.Stop()
		}()
	})
	return nil
}

func (w *commandWay) end() { <-w.ended }

// again runs the command again: what it may ask, if it asks, is its own business.
func (w *commandWay) again(_ context.Context, cfg *Config) (way, error) { return startCommand(cfg) }

// fault is how the program ended of itself.
func (w *commandWay) fault() string {
	var exit *exec.ExitError
	switch {
	case errors.As(w.err, &exit) && exit.Exited():
		if w.last != "" {
			return fmt.Sprintf("the ProxyCommand ended with status %d, and said: %s", exit.ExitCode(), w.last)
		}
		return fmt.Sprintf("the ProxyCommand ended with status %d: try the command by itself", exit.ExitCode())
	case w.last != "":
		return "the ProxyCommand said: " + w.last
	}
	return ""
}

func (w *commandWay) LocalAddr() net.Addr              { return address("the ProxyCommand:0") }
func (w *commandWay) RemoteAddr() net.Addr             { return w.server }
func (w *commandWay) SetDeadline(time.Time) error      { return errors.ErrUnsupported }
func (w *commandWay) SetReadDeadline(time.Time) error  { return errors.ErrUnsupported }
func (w *commandWay) SetWriteDeadline(time.Time) error { return errors.ErrUnsupported }
