package standing

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/culvert-ssh/culvert/activity"
	"github.com/culvert-ssh/culvert/client"
)

// protocol is counted up when a process of the one number could misunderstand one of the other. That all tunnels can be taken down, however old
// the process is, must stay so.
const protocol = 1

// Request is what the process is asked. One of the commands is set.
type Request struct {
	Protocol int    `json:"protocol"`
	Version  string `json:"version"` // of the program that asks

	Up     *Up     `json:"up,omitempty"`
	Down   *Down   `json:"down,omitempty"`
	Status *Status `json:"status,omitempty"`
}

// Up brings tunnels up.
type Up struct {
	File  string   `json:"file,omitempty"` // of the profiles, in place of the usual ones
	Names []string `json:"names,omitempty"`
	All   bool     `json:"all,omitempty"`
	Login bool     `json:"login,omitempty"` // make the SSH connections now, while the person can be asked
	// Environment is what agents and askpass programs are found by: the latest desktop or terminal counts.
	Environment map[string]string `json:"environment,omitempty"`
}

// Down takes tunnels down.
type Down struct {
	Names []string `json:"names,omitempty"`
	All   bool     `json:"all,omitempty"`
}

// Status asks how all is.
type Status struct{}

// Reply is what has come of a Request.
type Reply struct {
	Protocol int       `json:"protocol"`
	Version  string    `json:"version"` // of the process
	PID      int       `json:"pid"`
	Since    time.Time `json:"since"`

	Results  []Result           `json:"results,omitempty"`  // of Up and Down, for each tunnel
	Tunnels  []Tunnel           `json:"tunnels,omitempty"`  // of Status
	Activity *activity.Snapshot `json:"activity,omitempty"` // of Status
}

// Result is what has become of one tunnel.
type Result struct {
	Name    string   `json:"name"`
	Outcome Outcome  `json:"outcome"`
	Ready   []string `json:"ready,omitempty"` // what a person needs to use it, line by line
	Error   string   `json:"error,omitempty"` // what has failed
}

// Outcome is what has become of a tunnel.
type Outcome string

const (
	CameUp   Outcome = "up"       // it wasn't, and is now
	WasUp    Outcome = "already"  // it was up and has stayed so
	Replaced Outcome = "replaced" // it was up by another configuration, and is up by the new one
	InUse    Outcome = "in use"   // it is up by another configuration, which is being used
	WentDown Outcome = "down"     // it was up, and isn't now
	WasDown  Outcome = "not up"   // it wasn't up
	Failed   Outcome = "failed"   // see Error
)

// Tunnel is one that is up.
type Tunnel struct {
	Name  string    `json:"name"`
	From  string    `json:"from"` // file:line of its configuration
	Since time.Time `json:"since"`
	client.Status
}

// message is a line from the process.
type message struct {
	Notice   string    `json:"notice,omitempty"`   // the person should see it
	Question *question `json:"question,omitempty"` // the person is to answer it
	Reply    *Reply    `json:"reply,omitempty"`    // the last line
	Error    string    `json:"error,omitempty"`    // the last line: nothing was done
	Ending   bool      `json:"ending,omitempty"`   // the last line: the process is ending, and another may be started
}

type question struct {
	Text string `json:"text"`
	Echo bool   `json:"echo,omitempty"`
}

// answer is the line that follows a question.
type answer struct {
	Text  string `json:"text"`
	Error string `json:"error,omitempty"` // there is no answer
}

const (
	// maxLine bounds a line, in bytes: the status of a thousand tunnels with their connections.
	maxLine = 16 << 20
	// maxAsked bounds a line of who asks: names of tunnels.
	maxAsked = 128 << 10
	// lineTimeout is how long a line may take, once it is expected or has been written. What a person types has no time.
	lineTimeout = 30 * time.Second
)

var errLong = errors.New("a line is too long")

// wire is one connection, as lines.
type wire struct {
	net.Conn
	in  *bufio.Reader
	max int // bytes of a line that comes in

	mu sync.Mutex // of writing
}

func newWire(c net.Conn, most int) *wire { return &wire{Conn: c, in: bufio.NewReader(c), max: most} }

// send writes v as a line.
func (w *wire) send(v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.SetWriteDeadline(time.Now().Add(lineTimeout)); err != nil {
		return err
	}
	_, err = w.Write(append(text, '\n'))
	return err
}

// receive reads a line into v.
func (w *wire) receive(v any) error {
	var line []byte
	for {
		part, err := w.in.ReadSlice('\n')
		if len(line)+len(part) > w.max {
			return errLong
		}
		line = append(line, part...)
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if errors.Is(err, io.EOF) && len(line) > 0 {
			return io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
		break
	}
	decoder := json.NewDecoder(bytes.NewReader(line))
	if err := decoder.Decode(v); err != nil {
		return fmt.Errorf("understand a line: %w", err)
	}
	return nil
}
