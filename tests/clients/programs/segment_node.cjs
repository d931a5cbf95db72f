// Segment's Node SDK, unmodified: `segment_node.cjs URL KEY COUNT PAUSE` prints the ids of what it sent.
const { Analytics } = require("@segment/analytics-node");

const [url, writeKey, count, pause] = process.argv.slice(2);
const analytics = new Analytics({ writeKey, host: url, flushAt: 10, flushInterval: 100, maxRetries: 10 });
const context = { consent: { categoryPreferences: { ads: false } } };
const told = (error, sent) => {
  if (error) throw error;
  console.log(sent.event.messageId);
};

async function main() {
  for (let number = 0; number < Number(count); number++) {
    analytics.track({ userId: "u1", event: "Thing Done", properties: { number }, context }, told);
    analytics.identify({ userId: "u1", traits: { plan: "free" }, context }, told);
    analytics.page({ userId: "u1", name: "Home", properties: { path: "/" }, context }, told);
    analytics.screen({ userId: "u1", name: "Home", context }, told);
    analytics.group({ userId: "u1", groupId: "g1", traits: { name: "Group" }, context }, told);
    analytics.alias({ userId: "u1", previousId: "u0", context }, told);
    await new Promise((done) => setTimeout(done, Number(pause) * 1000));
  }
  await analytics.closeAndFlush();
}
main();
