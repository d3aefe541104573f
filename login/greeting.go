package login

import (
	"bytes"
	"sync"
)

// maxGreeting bounds what is kept of a server's first words, in bytes: a line of SSH's has 255 at most (RFC 4253, section 4.2).
const maxGreeting = 512

// greeted is a way that remembers what the server said before the line with its version, for the error if that never comes.
type greeted struct {
	way

	mu   sync.Mutex
	said []byte
	ssh  bool // SSH's line has come
}

func (g *greeted) Read(p []byte) (int, error) {
	n, err := g.way.Read(p)
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.ssh && len(g.said) < maxGreeting {
		g.said = append(g.said, p[:min(n, maxGreeting-len(g.said))]...)
		g.ssh = bytes.HasPrefix(g.said, []byte("SSH-")) || bytes.Contains(g.said, []byte("\nSSH-"))
	}
	return n, err
}

// Write reads when it fails: who is gone may have said why.
func (g *greeted) Write(p []byte) (int, error) {
	n, err := g.way.Write(p)
	if err != nil && g.unheard() {
		_, _ = g.Read(make([]byte, maxGreeting)) // the first error counts
	}
	return n, err
}

func (g *greeted) unheard() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.said) == 0
}

// greeting is the first line, if no version followed.
func (g *greeted) greeting() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ssh {
		return ""
	}
	line, _, _ := bytes.Cut(bytes.TrimLeft(g.said, "\r\n"), []byte("\n"))
	return string(bytes.TrimRight(line, "\r"))
}
