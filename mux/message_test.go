package mux

import (
	"bytes"
	"encoding/binary"
	"testing"

	"golang.org/x/crypto/ssh"
)

func TestAnswersOfAMaster(t *testing.T) {
	text := ssh.Marshal(struct{ Text string }{"no"})
	for _, test := range []struct {
		name string
		said []byte
		want answer // its kind is 0 where it is refused
	}{
		{"ok", encode(sayOK, 7, nil), answer{kind: sayOK, id: 7}},
		{"ok and more", encode(sayOK, 7, text), answer{}},
		{"failure", encode(sayFailure, 7, text), answer{kind: sayFailure, id: 7, text: "no"}},
		{"denied", encode(sayDenied, 7, text), answer{kind: sayDenied, id: 7, text: "no"}},
		{"a text cut short", encode(sayDenied, 7, text[:5]), answer{}},
		{"port", encode(sayPort, 7, []byte{0, 0, 4, 1}), answer{kind: sayPort, id: 7, number: 1025}},
		{"no port", encode(sayPort, 7, nil), answer{}},
		{"opened", encode(sayOpened, 7, []byte{0, 0, 0, 2}), answer{kind: sayOpened, id: 7, number: 2}},
		{"unknown", encode(0x80000004, 7, []byte{0, 0, 0, 2}), answer{}},
		{"nothing", nil, answer{}},
		{"half", []byte{0x80, 0, 0, 1, 0}, answer{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := parseAnswer(test.said)
			if refused := test.want.kind == 0; (err != nil) != refused {
				t.Errorf("got error %v, want one: %v", err, refused)
			}
			if err == nil && got != test.want {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}

func encode(kind, id uint32, rest []byte) []byte {
	return append(binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, kind), id), rest...)
}

func TestMessagesThatAreTooLongAreNotRead(t *testing.T) {
	if _, err := readMessage(bytes.NewReader([]byte{0xff, 0xff, 0xff, 0xff, 0})); err == nil {
		t.Error("4 GiB were taken")
	}
}

// FuzzAnswer: what is taken for an answer is exactly what it says.
func FuzzAnswer(f *testing.F) {
	f.Add(encode(sayOK, 1, nil))
	f.Add(encode(sayFailure, 2, []byte{0, 0, 0, 2, 'n', 'o'}))
	f.Add(encode(sayPort, 3, []byte{0, 0, 4, 1}))
	f.Fuzz(func(t *testing.T, said []byte) {
		a, err := parseAnswer(said)
		if err != nil {
			return
		}
		var rest []byte
		switch a.kind {
		case sayDenied, sayFailure:
			rest = ssh.Marshal(struct{ Text string }{a.text})
		case sayAlive, sayOpened, sayPort:
			rest = binary.BigEndian.AppendUint32(nil, a.number)
		}
		if again := encode(a.kind, a.id, rest); !bytes.Equal(again, said) {
			t.Errorf("%x was read as %+v, which is %x", said, a, again)
		}
	})
}
