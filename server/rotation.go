package server

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"
)

// How an authenticated client learns of all host keys, so that it knows those that come next (OpenSSH's PROTOCOL, section 2.5).
const (
	announceRequest = "hostkeys-00@openssh.com"
	proveRequest    = "hostkeys-prove-00@openssh.com"
)

// maxProofs is how often one connection may ask for proofs. A client asks once.
const maxProofs = 8

// greeted is a connection that tells when its client is authenticated. gliderlabs/ssh (v0.3.8) has no call for that, but it asks
// for the local address then, once it has put the SSH connection where serverConn finds it.
type greeted struct {
	net.Conn
	c    *connection
	done atomic.Bool
}

func (g *greeted) LocalAddr() net.Addr {
	if !g.done.Load() {
		if conn := g.c.serverConn(); conn != nil && g.done.CompareAndSwap(false, true) {
			g.c.established(conn)
		}
	}
	return g.Conn.LocalAddr()
}

// SetDeadline does nothing: gliderlabs/ssh takes all deadlines away before each Read and Write, and what it would set instead nobody asks it for.
func (g *greeted) SetDeadline(time.Time) error { return nil }

// established is called once, when the client is authenticated.
func (c *connection) established(conn *ssh.ServerConn) {
	if c.socket != nil {
		c.socket.Under(conn.Conn)
	}
	if !c.isAside {
		c.announce(conn)
	}
}

// announce tells the client of all host keys. A client that doesn't know the request passes over it.
func (c *connection) announce(conn ssh.Conn) {
	var payload []byte
	for _, key := range c.live.AnnouncedKeys {
		payload = appendString(payload, key.PublicKey().Marshal())
	}
	if len(payload) == 0 {
		return
	}
	if _, _, err := conn.SendRequest(announceRequest, false, payload); err != nil {
		c.log.Debug("host keys are not announced", "err", err) // the connection is about to end
	}
}

// proved answers a client that wants to see that we hold the keys that it names. It is called for one request after another.
//
// The answers to global requests have an order, so those that come meanwhile wait. x/crypto/ssh holds 16 of them before anything
// else does; and an agent that gives no answer is asked no second time.
func (c *connection) proved(conn *ssh.ServerConn, payload []byte) (ok bool, answer []byte) {
	if c.proofs == maxProofs+1 {
		return false, nil // which the log says once
	}
	if c.proofs++; c.proofs > maxProofs {
		c.log.Warn("host keys are not proven: the client has asked too often", "limit", maxProofs)
		return false, nil
	}
	answer, err := prove(conn, c.live.AnnouncedKeys, payload)
	if err != nil {
		c.log.Warn("host keys are not proven", "err", err)
		return false, nil
	}
	return true, answer
}

// prove signs for each of the keys in payload, which are strings, in their order.
func prove(conn *ssh.ServerConn, keys []ssh.Signer, payload []byte) (answer []byte, err error) {
	for asked := 0; len(payload) > 0; asked++ {
		var blob []byte
		if blob, payload, err = cutString(payload); err != nil {
			return nil, err
		}
		if asked == len(keys) {
			return nil, errors.New("the client asks for more keys than there are")
		}
		signer := holding(keys, blob)
		if signer == nil {
			return nil, fmt.Errorf("the client asks for a key that is not one of ours (%d bytes)", len(blob))
		}
		signed := appendString(nil, []byte(proveRequest))
		signed = appendString(signed, conn.SessionID())
		signed = appendString(signed, blob)
		signature, err := signProof(conn, signer, signed)
		if err != nil {
			return nil, err
		}
		answer = appendString(answer, ssh.Marshal(signature))
	}
	return answer, nil
}

// signProof signs with the algorithm that the client expects: with an RSA key, that of the key exchange if it was one of RSA, else
// SHA-512, as OpenSSH does.
func signProof(conn *ssh.ServerConn, key ssh.Signer, data []byte) (*ssh.Signature, error) {
	if key.PublicKey().Type() != ssh.KeyAlgoRSA {
		return key.Sign(rand.Reader, data)
	}
	signer, ok := key.(ssh.AlgorithmSigner)
	if !ok {
		return nil, errors.New("an RSA key that can't choose its algorithm")
	}
	algorithm := ssh.KeyAlgoRSASHA512
	if meta, ok := conn.Conn.(ssh.AlgorithmsConnMetadata); ok &&
		strings.TrimSuffix(meta.Algorithms().HostKey, certificateSuffix) == ssh.KeyAlgoRSASHA256 {
		algorithm = ssh.KeyAlgoRSASHA256
	}
	return signer.SignWithAlgorithm(rand.Reader, data, algorithm)
}

func holding(keys []ssh.Signer, blob []byte) ssh.Signer {
	for _, key := range keys {
		if bytes.Equal(key.PublicKey().Marshal(), blob) {
			return key
		}
	}
	return nil
}

// appendString appends a string (RFC 4251, section 5).
func appendString(b, s []byte) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...)
}

func cutString(b []byte) (s, rest []byte, err error) {
	if len(b) < 4 || uint64(binary.BigEndian.Uint32(b)) > uint64(len(b)-4) {
		return nil, nil, errors.New("the client's request is cut short")
	}
	n := 4 + int(binary.BigEndian.Uint32(b))
	return b[4:n], b[n:], nil
}
