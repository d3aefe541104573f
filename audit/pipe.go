package audit

import (
	"errors"
	"fmt"
	"os"
	"time"
)

// pipe writes to something else than a file, and doesn't wait for good for who reads from it: everything that is to be recorded stands
// in line.
type pipe struct {
	w     *os.File
	stuck bool // the last write was given up
	torn  bool // it left the beginning of a line behind
}

func (p *pipe) Write(text []byte) (int, error) {
	timeout := lockTimeout
	if p.stuck {
		timeout = stuckTimeout
	}
	_ = p.w.SetWriteDeadline(time.Now().Add(timeout)) // fails where nobody is waited for
	if p.torn {
		if _, err := p.w.Write([]byte("\n")); err != nil {
			return 0, p.failed(err)
		}
		p.torn = false
	}
	n, err := p.w.Write(text)
	if err != nil {
		p.torn = n > 0
		return n, p.failed(err)
	}
	p.stuck = false
	return n, nil
}

func (p *pipe) failed(err error) error {
	if p.stuck = errors.Is(err, os.ErrDeadlineExceeded); p.stuck {
		return fmt.Errorf("nobody has read from %s for longer than %v", p.w.Name(), lockTimeout)
	}
	return err
}
