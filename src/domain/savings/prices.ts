/** Digits after the point of prices and costs. */
const digits = 9;

/** Milliseconds of the hour that prices are for. */
const hourMs = 3_600_000n;

/** What runs cost, in billionths of a currency and per hour. */
export type Prices = {
  readonly currency: string;
  /** The price of an hour at a worker with such labels, name to value; undefined if it has none. */
  priceOf(labels: ReadonlyMap<string, string>): bigint | undefined;
};

/** What prices are made of: decimal numbers as texts, by the value of one label of workers. */
export type PriceTable = {
  readonly currency: string;
  readonly label: string;
  readonly per_hour: Readonly<Record<string, string>>;
  /** The price where a worker has no such label, or a value that is not named; absent for none. */
  readonly other?: string | undefined;
};

/** Whether a text is a price: a decimal number from 0 with at most nine digits on each side of the point. */
export function isPrice(text: string): boolean {
  return /^\d{1,9}(\.\d{1,9})?$/.test(text);
}

/** The prices that a table gives, whose texts are prices. */
export function pricesOf({ currency, label, per_hour, other }: PriceTable): Prices {
  const byValue = new Map(Object.entries(per_hour).map(([value, text]) => [value, billionths(text)]));
  const otherwise = other === undefined ? undefined : billionths(other);
  return {
    currency,
    priceOf(labels) {
      const value = labels.get(label);
      return (value === undefined ? undefined : byValue.get(value)) ?? otherwise;
    },
  };
}

function billionths(text: string): bigint {
  const [whole = '', part = ''] = text.split('.');
  return BigInt(whole + part.padEnd(digits, '0'));
}

/**
 * A cost as a decimal number with up to nine digits after the point, half a billionth rounded away from 0.
 * @param exact - the sum of times in milliseconds, each multiplied with its price
 */
export function costText(exact: bigint): string {
  const size = exact < 0n ? -exact : exact;
  const rounded = (2n * size + hourMs) / (2n * hourMs);
  const text = rounded.toString().padStart(digits + 1, '0');
  const part = text.slice(-digits).replace(/0+$/, '');
  return `${exact < 0n && rounded > 0n ? '-' : ''}${text.slice(0, -digits)}${part === '' ? '' : `.${part}`}`;
}
