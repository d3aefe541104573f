package channels

import (
	"fmt"
	"net"
	"strconv"
	"strings"
)

// welcome says who the user is here, what may be opened, and how.
func (s *session) welcome() string {
	var b strings.Builder
	fmt.Fprintf(&b, "This is a culvert bastion. You are %s, from %s.\n\n", s.cfg.Subject().User, s.cfg.Subject().Addr)
	if len(s.cfg.Permitted) == 0 {
		b.WriteString("You may not open anything through it; ask its administrator for a PermitOpen line.\n")
	} else {
		b.WriteString("You may open:\n")
		for _, word := range s.cfg.Permitted {
			b.WriteString("  " + word + "\n")
		}
		b.WriteString("\nFor example, on your machine:\n")
		for _, line := range s.examples() {
			b.WriteString("  " + line + "\n")
		}
	}
	b.WriteString("\nThis session stays open and carries your forwardings until you end it")
	if s.pty.Load() {
		b.WriteString(" (Ctrl-D)")
	}
	b.WriteString(".\n")
	return b.String()
}

// examples are the command lines for the first FTP word and the first other one.
func (s *session) examples() []string {
	at := s.cfg.Subject().User + "@" + s.cfg.Subject().LocalAddr.Addr().String()
	port := ""
	if p := s.cfg.Subject().LocalAddr.Port(); p != 22 {
		port = "-p " + strconv.Itoa(int(p)) + " "
	}
	var lines []string
	var haveFTP, havePlain bool
	for _, word := range s.cfg.Permitted {
		target, isFTP := strings.CutPrefix(word, "ftp/")
		target = example(target)
		switch {
		case isFTP && !haveFTP:
			haveFTP = true
			lines = append(lines, "culvert -N "+port+"-L ftp/2121:"+target+" "+at,
				"lftp -p 2121 127.0.0.1")
		case !isFTP && !havePlain:
			havePlain = true
			lines = append(lines, "ssh -N "+port+"-L 8000:"+target+" "+at)
		}
	}
	return lines
}

// example makes a destination that can be typed out of a PermitOpen word: HOST and PORT stand for what
// the reader has to choose.
func example(word string) string {
	host, port, err := net.SplitHostPort(word)
	if err != nil {
		return "HOST:PORT"
	}
	if strings.ContainsAny(host, "*?!/") {
		host = "HOST"
	}
	if i := strings.IndexAny(port, ",-"); i >= 0 {
		port = port[:i]
	}
	if port == "*" {
		port = "PORT"
	}
	return net.JoinHostPort(host, port)
}
