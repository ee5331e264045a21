/** How long ago something was, as a person reads it: "12 min", "3.5 h", "4.0 d". */
export function span(hours: number): string {
  if (hours < 1) return `${Math.floor(Math.max(0, hours) * 60)} min`;
  return hours < 48 ? `${hours.toFixed(1)} h` : `${(hours / 24).toFixed(1)} d`;
}
