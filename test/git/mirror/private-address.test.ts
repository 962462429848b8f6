import test from 'ava';
import { isPrivateAddress } from '../../../src/git/mirror/private-address.js';

const cases: [boolean, string[]][] = [
  [
    true,
    [
      ...[
        '0.0.0.0',
        '10.1.2.3',
        '100.64.0.1',
        '127.0.0.1',
        '127.255.255.254',
        '169.254.169.254',
        '172.16.0.1',
        '172.31.255.255',
        '192.168.1.1',
      ],
      ...[
        '198.18.0.1',
        '224.0.0.1',
        '255.255.255.255',
        '::',
        '::1',
        '::ffff:127.0.0.1',
        '::ffff:8.8.8.8',
        '::7f00:1',
        'fe80::1',
        'fc00::1',
      ],
      ...['fd12::1', 'ff02::1', '64:ff9b::7f00:1', '2002:7f00:1::', '2001::1', '2001:db8::1', 'localhost', '', '127.1'],
    ],
  ],
  [
    false,
    [
      '8.8.8.8',
      '1.1.1.1',
      '172.15.0.1',
      '172.32.0.1',
      '100.128.0.1',
      '140.82.121.3',
      '2606:50c0:8000::153',
      '2a00:1450:4001:80b::200e',
    ],
  ],
];

for (const [isPrivate, addresses] of cases) {
  for (const address of addresses) {
    test(`${JSON.stringify(address)} is ${isPrivate ? 'not ' : ''}public`, (t) => {
      t.is(isPrivateAddress(address), isPrivate);
    });
  }
}
