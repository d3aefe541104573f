package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"
)

// Client asks a running bastion over its control socket.
type Client struct {
	path string
	http *http.Client
}

// NewClient returns a Client of the socket at path. It connects when it is asked something.
func NewClient(path string) *Client {
	return &Client{path, &http.Client{Timeout: requestTime, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		},
	}}}
}

// Connections returns the connections, with their rates over a time; if that is zero, without.
func (c *Client) Connections(over time.Duration) (all []Connection, err error) {
	err = c.do(http.MethodGet, "/connections"+query(over), &all)
	return all, err
}

// Connection returns one connection, or [ErrNotFound].
func (c *Client) Connection(id string, over time.Duration) (one Connection, err error) {
	err = c.do(http.MethodGet, "/connections/"+url.PathEscape(id)+query(over), &one)
	return one, err
}

// Kill ends a connection, or returns [ErrNotFound].
func (c *Client) Kill(id string) error {
	return c.do(http.MethodDelete, "/connections/"+url.PathEscape(id), nil)
}

// Unban takes the penalties of an address away, or returns [ErrNotFound].
func (c *Client) Unban(addr netip.Addr) error {
	return c.do(http.MethodDelete, "/penalties/"+url.PathEscape(addr.String()), nil)
}

// Drain has the bastion accept no more connections, and end with the last one.
func (c *Client) Drain() error { return c.do(http.MethodPost, "/drain", nil) }

// Reload has it read its configuration again. If it can't, the error says why.
func (c *Client) Reload() error { return c.do(http.MethodPost, "/reload", nil) }

func query(over time.Duration) string {
	if over == 0 {
		return ""
	}
	return "?over=" + url.QueryEscape(over.String())
}

// maxAnswer bounds an answer, in bytes: some 100,000 channels.
const maxAnswer = 64 << 20

// do asks, and reads the answer into result unless that is nil.
func (c *Client) do(method, path string, result any) error {
	r, err := http.NewRequest(method, "http://culvertd"+path, nil)
	if err != nil {
		return err
	}
	response, err := c.http.Do(r)
	if err != nil {
		return c.unanswered(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("read the answer of culvertd: %w", err)
	}
	if response.StatusCode >= http.StatusBadRequest {
		var f failure
		if err := json.Unmarshal(body, &f); err != nil || f.Error == "" {
			return fmt.Errorf("culvertd answers %s", response.Status)
		}
		if response.StatusCode == http.StatusNotFound {
			return &notFound{f.Error}
		}
		return errors.New(f.Error)
	}
	if result == nil {
		return nil
	}
	if err := json.Unmarshal(body, result); err != nil {
		return fmt.Errorf("read the answer of culvertd: %w", err)
	}
	return nil
}

// unanswered says what to do about a question that didn't arrive. What HTTP calls it is nobody's business.
func (c *Client) unanswered(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("nobody serves the control socket %q: is culvertd running, and is this its ControlSocket?", c.path)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("the control socket %q is for root and the user that runs culvertd: %w", c.path, err)
	}
	return fmt.Errorf("ask culvertd: %w", err)
}

// notFound is an ErrNotFound that says what isn't there.
type notFound struct{ text string }

func (e *notFound) Error() string        { return e.text }
func (e *notFound) Is(target error) bool { return target == ErrNotFound }
