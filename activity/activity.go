// Package activity is what runs through the tunnels of one process: counted where it runs, sampled every second, and shown as a
// value, which is JSON as well, and as lines of text. It moves no bytes, and knows nothing of FTP, of SSH or of terminals.
//
// A [Board] has a meter for each tunnel, each connection through it, and each transfer on that. Whoever serves one has a meter made
// and closes it at the end; all of it works on a nil Board, too, and costs nothing then. A [Snapshot] is what the meters show.
package activity

import "time"

// Snapshot is what runs at one moment.
type Snapshot struct {
	At      time.Time `json:"at"`
	Links   []Link    `json:"links,omitempty"` // filled in by who keeps them; none if there is but one, which is nobody's question
	Tunnels []Tunnel  `json:"tunnels"`         // in the order in which they came
	Ended   []Ended   `json:"ended,omitempty"` // the transfers that have ended last, the newest at the end
}

// Link is a way to a bastion, which may have no SSH connection at the moment.
type Link struct {
	Name    string    `json:"name"`    // of the profile
	Bastion string    `json:"bastion"` // [user@]host[:port]
	State   State     `json:"state"`
	Since   time.Time `json:"since"`           // of the state
	Cause   string    `json:"cause,omitempty"` // why there is no connection, or not every tunnel, in words
	Sides   int       `json:"sides,omitempty"` // connections beside it, which long streams are spread over
	Retry   time.Time `json:"retry,omitzero"`  // when the next try begins, if one does by itself
}

// State is what a Link is at.
type State string

const (
	Idle       State = "idle"       // nobody needs a connection
	Connecting State = "connecting" // one is being made
	Connected  State = "connected"
	Broken     State = "broken" // the last one broke, or could not be made
)

// Tunnel is one forward.
type Tunnel struct {
	Link   string `json:"link,omitempty"` // the Name of its Link
	Kind   Kind   `json:"kind"`
	FTP    bool   `json:"ftp,omitempty"`    // the connections to it are FTP control connections
	Listen string `json:"listen"`           // where programs connect to: here, or, of a Remote, at the bastion
	Target string `json:"target,omitempty"` // where it leads to; empty if each connection says

	Served      int64        `json:"served"` // connections so far
	Up          int64        `json:"up"`     // bytes towards the target so far, without what FTP says on control connections
	Down        int64        `json:"down"`   // and from it
	Connections []Connection `json:"connections,omitempty"`
}

// Kind is what a Tunnel is.
type Kind string

const (
	Local    Kind = "local"        // -L
	Remote   Kind = "remote"       // -R
	Dynamic  Kind = "dynamic"      // -D
	Proxy    Kind = "ftp-proxy"    // -L ftp-proxy/
	Redirect Kind = "ftp-redirect" // -L ftp-redirect/
)

// Connection is one connection through a Tunnel.
type Connection struct {
	ID     int64     `json:"id"`               // counted over the Board
	From   string    `json:"from,omitempty"`   // who has connected; empty if that has no address
	Target string    `json:"target,omitempty"` // where to; empty if the Tunnel says
	FTP    bool      `json:"ftp,omitempty"`    // it is an FTP control connection
	User   string    `json:"user,omitempty"`   // who is logged in by FTP, escaped
	Since  time.Time `json:"since"`

	Up        int64      `json:"up"`              // bytes towards the target; of FTP, those of its transfers
	Down      int64      `json:"down"`            // and from it
	Rate      int64      `json:"rate"`            // bytes a second, both ways; of FTP, see Transfers
	Rates     []int64    `json:"rates,omitempty"` // of each of the last seconds, the newest at the end
	Transfers []Transfer `json:"transfers,omitempty"`
}

// Transfer is one file, or listing, on its way.
type Transfer struct {
	ID        int64     `json:"id"`             // counted over the Board
	File      string    `json:"file,omitempty"` // as the FTP client calls it, escaped; of a listing, the whole argument
	Direction Direction `json:"direction"`
	Since     time.Time `json:"since"` // when it was asked for
	Begun     bool      `json:"begun"` // the server has said that it begins

	Offset     int64 `json:"offset,omitempty"`     // where in the file it began
	Size       int64 `json:"size,omitempty"`       // of the whole file; 0 if that isn't known
	Compressed bool  `json:"compressed,omitempty"` // Bytes are not those of the file (MODE Z, B, C)

	Bytes int64   `json:"bytes"`           // so far
	Rate  int64   `json:"rate"`            // bytes a second
	Rates []int64 `json:"rates,omitempty"` // of each of the last seconds, the newest at the end
}

// Share is how much of the file is done, from 0 to 1. It isn't known of all.
func (t Transfer) Share() (share float64, known bool) {
	at := t.Offset + t.Bytes
	if t.Size <= 0 || t.Compressed || at > t.Size { // who sends more than the size was wrong about it: lines may have other ends on the way
		return 0, false
	}
	return float64(at) / float64(t.Size), true
}

// Left is how long the rest takes, if it goes on as it does now. It isn't known of all.
func (t Transfer) Left() (left time.Duration, known bool) {
	if _, known := t.Share(); !known || t.Rate <= 0 {
		return 0, false
	}
	seconds := float64(t.Size-t.Offset-t.Bytes) / float64(t.Rate)
	if seconds > (1000 * time.Hour).Seconds() {
		return 0, false
	}
	return time.Duration(seconds * float64(time.Second)), true
}

// Direction is which way a Transfer goes.
type Direction string

const (
	Download Direction = "download"
	Upload   Direction = "upload"
	Listing  Direction = "listing" // a download of names
)

// Ended is a Transfer that has ended. Its Rate is that of all of it.
type Ended struct {
	Transfer
	Link    string    `json:"link,omitempty"`
	Target  string    `json:"target"`
	From    string    `json:"from"`
	At      time.Time `json:"at"`
	Outcome Outcome   `json:"outcome"`
	Cause   string    `json:"cause,omitempty"` // why it isn't Done, in words, escaped
}

// Outcome is how a Transfer has ended.
type Outcome string

const (
	Done    Outcome = "done"    // the server says that it is complete, and the data connection ended in order
	Failed  Outcome = "failed"  // somebody says that it isn't
	Aborted Outcome = "aborted" // the client wanted no more
)
