package ftp

import (
	"slices"
	"testing"
)

// What is in the middle has a number that another one doesn't have, whether it is fed whole or by the byte.
func TestUnfinished(t *testing.T) {
	type said struct {
		client, server string
	}
	for _, tc := range []struct {
		name           string
		said           []said
		command, reply int
	}{
		{"nothing", nil, 0, 0},
		{"a greeting that has begun", []said{{"", "2"}}, 0, 1},
		{"a greeting with a line to come", []said{{"", "220-hello\r\n"}}, 0, 1},
		{"a greeting", []said{{"", "220-hello\r\n220 there\r\n"}}, 0, 0},
		{"a CR", []said{{"\r", "220 hello\r\n\r"}}, 1, 2},
		{"the second command, the second reply", []said{{"", "220 hello\r\n"}, {"USER a\r\nPAS", ""}, {"", "331 x\r\n2"}}, 2, 3},
		{"a line that was bad", []said{{"\x01\r\nU", "220 hello\r\n"}}, 2, 0},
		{"a bare LF, and the rest of its line", []said{{"USER a\nPA", "220 hello\r\n"}}, 1, 0},
		{"after a bare LF", []said{{"USER a\nPA\r\n", "220 hello\r\n"}}, 0, 0},
		{"lines that are no reply", []said{{"", "220 hello\r\nwhat\r\n\r\nnow"}}, 0, 4},
		{"Telnet", []said{{"\xff\xf4", "220 hello\r\n\xff"}}, 0, 0},
		{"a command that is never ended", []said{{"", "220 hello\r\n"}, {"USER", ""}, {"end", ""}}, 0, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, size := range []int{1, 3, 1000} {
				s := NewSession(usualOptions())
				for _, x := range tc.said {
					if x.client == "end" {
						s.ClientClosed()
						continue
					}
					for p := range slices.Chunk([]byte(x.server), size) {
						s.FromServer(p)
					}
					for p := range slices.Chunk([]byte(x.client), size) {
						s.FromClient(p)
					}
				}
				if command, reply := s.Unfinished(); command != tc.command || reply != tc.reply {
					t.Errorf("%d bytes at a time: Unfinished is %d, %d, want %d, %d", size, command, reply, tc.command, tc.reply)
				}
			}
		})
	}
}

func TestNothingExpiresThatIsWhole(t *testing.T) {
	s := NewSession(usualOptions())
	s.FromServer([]byte("220 hello\r\n"))
	s.FromClient([]byte("USER a\r\n"))
	if got := append(s.CommandExpired(), s.ReplyExpired()...); len(got) != 0 {
		t.Errorf("effects %q, want none", written(got))
	}
}
