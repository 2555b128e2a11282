/** Faults as probabilities per message (default 0). They may be changed while the bus runs. */
export interface BusFaults {
  /** Acknowledged and then lost, as when a server dies that does not sync. */
  loseAfterAck: number;
  /** Stored, but the publisher gets an error. */
  loseAck: number;
  /** Delivered twice. */
  duplicate: number;
  /** Delivered up to `delayMs` late, while later messages overtake it. */
  delay: number;
  delayMs: number;
  /** The message after the next one is delivered first. */
  reorder: number;
}
