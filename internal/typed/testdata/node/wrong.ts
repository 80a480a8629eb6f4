// None of these compiles; it is not run.
import { OrderPaid } from './templates.js';
import { paid } from './use.js';

// @ts-expect-error no such field
OrderPaid.data({ ...paid, remark: 'x' });
// @ts-expect-error not of the enum
OrderPaid.data({ ...paid, orderStatus: '已付款' });
// @ts-expect-error a field is missing
OrderPaid.data({ orderNumber: 'HY1' });
// @ts-expect-error text is no time
OrderPaid.data({ ...paid, paymentTime: '2026-11-22' });
