package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/culvert-ssh/culvert/client"
)

// dialogue writes the lines of FTP control connections as a person reads them who looks for what is wrong:
//
//	14:03:07.512 1 client  > PASV
//	14:03:07.530 1 server  < 227 Entering Passive Mode (10,1,60,99,6,12)
//	14:03:07.531 1 culvert < 227 Entering Passive Mode (127,0,0,1,156,65)  [instead]
//
// The number is that of the connection, and > is the way to the server.
type dialogue struct {
	out   *printer
	color bool
	now   func() time.Time
}

// The colours of those who speak, and of what goes wrong.
const (
	colorClient  = "\x1b[36m" // cyan
	colorServer  = "\x1b[32m" // green
	colorCulvert = "\x1b[1;33m"
	colorFailure = "\x1b[31m"
	colorEnd     = "\x1b[0m"
)

func (d *dialogue) line(connection int, l client.DialogueLine) {
	who, color := "culvert", colorCulvert
	switch l.Speaker {
	case client.SaidByClient:
		who, color = "client", colorClient
	case client.SaidByServer:
		who, color = "server", colorServer
	}
	arrow := "<"
	if l.ToServer {
		arrow = ">"
	}
	text := l.Text
	if !l.ToServer && failure(text) && l.Speaker == client.SaidByServer {
		color = colorFailure
	}
	switch {
	case l.Speaker != client.SaidByCulvert:
	case l.Dropped:
		text += "  [left out]"
	case l.Instead:
		text += "  [instead]"
	case l.ToServer:
		text += "  [added]"
	default:
		text += "  [answered here]"
	}
	head := fmt.Sprintf("%s %d ", d.now().Format("15:04:05.000"), connection)
	body := fmt.Sprintf("%-7s %s %s", who, arrow, text)
	if d.color {
		body = color + body + colorEnd
	}
	d.out.line(head + body)
}

// failure reports whether a line is the reply to something that went wrong.
func failure(text string) bool {
	return len(text) > 3 && (text[0] == '4' || text[0] == '5') && strings.Trim(text[:3], "0123456789") == ""
}

// colorful reports whether w is a terminal whose owner wants colours (https://no-color.org).
func colorful(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd())) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}
