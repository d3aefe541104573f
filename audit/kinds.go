package audit

import (
	"encoding/json"
	"fmt"
	"reflect"
)

// kinds are all events that there are, in the order in which docs/audit.md has them.
var kinds = []Event{
	Server{},
	Reload{},
	Opened{},
	Torn{},
	Lost{},
	ConnectionRefused{},
	Penalty{},
	ConnectionOpened{},
	Authentication{},
	ConnectionClosed{},
	StripesGranted{},
	SideAccepted{},
	SideRefused{},
	ChannelAsked{},
	ChannelDecided{},
	ChannelRefused{},
	ChannelOpened{},
	ChannelClosed{},
	ListenOpened{},
	ListenRefused{},
	ListenClosed{},
	SessionStarted{},
	SessionRefused{},
	SFTPOpened{},
	SFTPClosed{},
	SFTPChanged{},
	FTPProtection{},
	FTPLogin{},
	FTPCommand{},
	FTPTransfer{},
	FTPAnnounced{},
	FTPListening{},
	FTPConnected{},
	FTPConsumed{},
	FTPExpired{},
	FTPRefused{},
}

var typeOf = func() map[string]reflect.Type {
	m := make(map[string]reflect.Type)
	for _, e := range kinds {
		m[e.EventName()] = reflect.TypeOf(e)
	}
	return m
}()

// decode reads the event of a line, into its type.
func decode(name string, line []byte) (Event, error) {
	t, ok := typeOf[name]
	if !ok {
		return nil, fmt.Errorf("unknown event %q", name)
	}
	e := reflect.New(t)
	if err := json.Unmarshal(line, e.Interface()); err != nil {
		return nil, err
	}
	return e.Elem().Interface().(Event), nil
}
