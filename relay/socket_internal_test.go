package relay

import (
	"encoding/binary"
	"testing"
)

func TestOursAreToldByTheirIdentification(t *testing.T) {
	for identification, want := range map[string]bool{
		"SSH-2.0-culvert": true, "SSH-2.0-culvert_1.2": true, "SSH-2.0-OpenSSH_9.2p1": false, "SSH-2.0-Go": false, "": false,
	} {
		if got := isOurs([]byte(identification)); got != want {
			t.Errorf("%q: got %v, want %v", identification, got, want)
		}
	}
}

// What is no length of a packet is of another cipher, and waits for nothing.
func TestPiecesArePartsOfPackets(t *testing.T) {
	for length, want := range map[uint32]bool{
		0: false, 16: false, pieceSize - 20: false, pieceSize - 19: true, 32 << 10: true, 256 << 10: true, longestPacket: false, 1<<32 - 21: false, 1<<32 - 1: false,
	} {
		p := binary.BigEndian.AppendUint32(make([]byte, 0, pieceSize), length)[:pieceSize]
		if got := isPiece(p); got != want {
			t.Errorf("length %d: got %v, want %v", length, got, want)
		}
		if isPiece(p[:pieceSize-1]) {
			t.Errorf("length %d: a piece of %d bytes", length, pieceSize-1)
		}
	}
}
