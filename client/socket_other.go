//go:build !unix

package client

import (
	"errors"
	"io/fs"
	"net"
)

// listenSocket says that it can't be done: nothing keeps others from such a socket here.
func listenSocket(string, fs.FileMode, bool) (net.Listener, error) {
	return nil, errors.New("culvert listens on Unix sockets on Unix alone: name a port")
}
